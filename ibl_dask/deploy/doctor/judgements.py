"""Judgements of the driver and of a worker as a whole: findings from facts alone, without any I/O."""

from __future__ import annotations

from ibl_dask.deploy.doctor.facts import ProcessFacts
from ibl_dask.deploy.doctor.finding import DRIVER, SiteFinding, place_of
from ibl_dask.deploy.doctor.host_judgements import (
    judge_codecs,
    judge_commands,
    judge_disk,
    judge_open_files,
    judge_own_versions,
    judge_quota,
    judge_versions,
)
from ibl_dask.deploy.doctor.worker_judgements import judge_gpu, judge_new_file, judge_threads
from ibl_dask.deploy.site.profile import Pool, Profile

FILES_PER_WORKER = 12
"""Files and connections of the driver for each worker: 11 for one on its own machine, fewer for one in a job."""
FILES_BESIDES = 200
"""Other files of the driver."""
WORKER_FILES = 256
"""Files that a worker has open at most."""


def judge_driver(facts: ProcessFacts, profile: Profile) -> list[SiteFinding]:
    """Return the findings of the driver."""
    n_files = FILES_PER_WORKER * profile.most_workers + FILES_BESIDES
    return [
        judge_own_versions(facts),
        *judge_codecs(DRIVER, facts.codecs),
        judge_disk(DRIVER, "work folder", facts.work),
        judge_quota(DRIVER, facts.quota),
        judge_open_files(DRIVER, facts.open_files, n_files),
        *judge_commands(facts.commands, profile),
    ]


def judge_worker(driver: ProcessFacts, worker: ProcessFacts, profile: Profile, pool: Pool) -> list[SiteFinding]:
    """Return the findings of a worker.

    Parameters
    ----------
    driver, worker
        Facts of both processes.
    profile, pool
        The site, and the pool of the worker.
    """
    place = place_of(pool)
    findings = [
        judge_versions(place, driver, worker),
        *judge_codecs(place, worker.codecs),
        judge_disk(place, "work folder", worker.work),
        judge_disk(place, "local scratch", worker.local),
        judge_quota(place, worker.quota),
        judge_open_files(place, worker.open_files, WORKER_FILES),
        judge_new_file(place, driver.new_file, worker.new_file, profile),
        judge_threads(place, worker.threads, pool),
    ]
    if pool.gpus:
        findings.append(judge_gpu(place, worker))
    return findings
