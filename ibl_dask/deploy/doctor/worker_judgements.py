"""Judgements of the worker of a pool: new files, threads, GPU, shared folder, clock, absence."""

from __future__ import annotations

from collections.abc import Sequence

from ibl_dask.deploy.batch_systems.registry import exclusion_example
from ibl_dask.deploy.cluster.gpu import CHECK_VARIABLE
from ibl_dask.deploy.doctor.disks import NewFile, SeenFile
from ibl_dask.deploy.doctor.facts import ProcessFacts
from ibl_dask.deploy.doctor.finding import Importance, SiteFinding, place_of
from ibl_dask.deploy.site.profile import Pool, Profile

LATE_S = 5.0
"""Delay of a file of another machine above which a run is held up, s: steps read the files of others."""
CLOCK_WARNING_S, CLOCK_PROBLEM_S = 1.0, 30.0
"""Difference of clocks that is a warning and a problem, s. Ages of files and locks are compared across machines, with
hours to spare; a journal with inconsistent times is hard to read."""
BUSY_GPU = 0.2
"""Share of a GPU's memory in use by others above which it is a warning."""


def judge_new_file(place: str, driver: NewFile, worker: NewFile, profile: Profile) -> SiteFinding:
    """Judge permissions, owner and group of the files of workers.

    Parameters
    ----------
    place
        Place of the finding.
    driver, worker
        A new file of each process in the work folder.
    profile
        The site, with `umask` and `group`.
    """
    if not worker.owner:
        return SiteFinding(place, "new files", Importance.NOTE, "none could be made in the work folder")
    found = f"made with {worker.mode:03o}, owner {worker.owner}, group {worker.group}"
    if worker.owner != driver.owner:
        do = "let driver and workers run as the same user; a file server may also rename the user (root becomes nobody)"
        return SiteFinding(
            place, "new files", Importance.PROBLEM, f"{found}; the driver's belong to {driver.owner}", do
        )
    if profile.umask is not None and worker.mode & profile.umask:
        do = f"look at `umask` in `setup` of the pool: {profile.line('umask')} sets {profile.umask:03o}"
        return SiteFinding(place, "new files", Importance.PROBLEM, found, do)
    if profile.group is not None and worker.group != profile.group:
        do = f"chgrp {profile.group} and chmod g+s the work folder: {profile.line('group')} sets that group"
        return SiteFinding(place, "new files", Importance.PROBLEM, found, do)
    return SiteFinding(place, "new files", Importance.OK, found)


def judge_threads(place: str, threads: str, pool: Pool) -> SiteFinding:
    """Judge whether libraries use exactly the cores of a worker.

    Parameters
    ----------
    place
        Place of the finding.
    threads
        `OMP_NUM_THREADS` of the worker; empty if unset.
    pool
        Its pool.
    """
    cores = max(1, pool.cores // pool.workers_per_job)
    found = f"{threads or 'no limit'} for libraries, {cores} core{'s' * (cores > 1)} for each worker"
    if threads == str(cores):
        return SiteFinding(place, "threads", Importance.OK, found)
    do = "remove OMP_NUM_THREADS from `setup` of the pool: it is set from `cores` and `workers_per_job`"
    return SiteFinding(place, "threads", Importance.WARNING, found, do)


def judge_gpu(place: str, worker: ProcessFacts) -> SiteFinding:
    """Judge the GPU of a worker, and its free memory."""
    gpu = worker.gpu
    if gpu is None or gpu.problem:
        found = gpu.problem if gpu else "this worker has none"
        do = f"exclude {worker.host} (`directives` of the pool) and report it to its administrators"
        return SiteFinding(place, "GPU", Importance.PROBLEM, found, do)
    if not gpu.is_checked:
        do = f"set {CHECK_VARIABLE}=cuda unless these GPUs are not NVIDIA's"
        return SiteFinding(
            place, "GPU", Importance.WARNING, f"device {gpu.device}, not tried ({CHECK_VARIABLE}=none)", do
        )
    found = f"{gpu.name}, device {gpu.device}: {gpu.free_gb:.1f} of {gpu.total_gb:.1f} GB free"
    if gpu.free_gb < (1 - BUSY_GPU) * gpu.total_gb:
        do = "list its other users with nvidia-smi; the batch system should give each GPU to one job"
        return SiteFinding(place, "GPU", Importance.WARNING, found, do)
    return SiteFinding(place, "GPU", Importance.OK, found)


def judge_shared(place: str, folder: str, there: SeenFile, back: SeenFile | None) -> SiteFinding:
    """Judge whether driver and worker see each other's files in the work folder, and how soon.

    Parameters
    ----------
    place, folder
        Place of the finding, and the work folder.
    there
        Appearance of a file of the driver at the worker.
    back
        Appearance of a file of the worker at the driver; None if that was not tried.
    """
    for seen, who in (
        (there, "the worker looked for a file of the driver"),
        (back, "the driver looked for a file of the worker"),
    ):
        if seen is not None and seen.problem:
            found = f"{folder}: {who}, and found {seen.problem} after {seen.waited_s:.0f} s"
            do = "name a folder that every node has under the same path (`scratch` of the profile, --work-dir)"
            return SiteFinding(place, "shared folder", Importance.PROBLEM, found, do)
    latest_s = max(there.waited_s, back.waited_s if back else 0.0)
    found = f"{folder}: a file of the driver is there after {there.waited_s:.2f} s"
    found += f", one of the worker after {back.waited_s:.2f} s" if back else ""
    if latest_s > LATE_S:
        do = "ask for shorter attribute caching on this mount (NFS: actimeo=1 or lookupcache=positive)"
        return SiteFinding(place, "shared folder", Importance.WARNING, found, do)
    return SiteFinding(place, "shared folder", Importance.OK, found)


def judge_clock(place: str, ahead_s: float, within_s: float) -> SiteFinding:
    """Judge the difference between the clocks of a worker and the driver.

    Parameters
    ----------
    place
        Place of the finding.
    ahead_s
        The worker's clock minus the driver's, s.
    within_s
        Uncertainty of that difference, half of a round trip, s.
    """
    off_s = max(0.0, abs(ahead_s) - within_s)
    found = f"{ahead_s:+.3f} s against the driver, within {within_s:.3f} s"
    do = "have the clocks of driver and node set by a time server (chrony, ntpd)"
    if off_s > CLOCK_PROBLEM_S:
        return SiteFinding(place, "clock", Importance.PROBLEM, found, do)
    if off_s > CLOCK_WARNING_S:
        return SiteFinding(place, "clock", Importance.WARNING, found, do)
    return SiteFinding(place, "clock", Importance.OK, found)


def judge_absence(pool: Pool, waited_s: float, reasons: Sequence[str]) -> SiteFinding:
    """Return the finding of a pool without a worker.

    Parameters
    ----------
    pool
        The pool.
    waited_s
        Time for which one was awaited, s.
    reasons
        Reasons from the batch system, the log of the job or the worker itself.
    """
    reason = "; ".join(reasons) or "nothing was said about it"
    found = f"no worker within {waited_s:.0f} s: {reason}"
    do = "look at these reasons; `ibl-dask jobscript` prints the script to try by hand, --wait gives a full queue time"
    return SiteFinding(place_of(pool), "worker", Importance.PROBLEM, found, do)


def judge_refusal(pool: Pool, worker: str, host: str, problem: str) -> SiteFinding:
    """Return the finding of a worker that left instead of taking steps.

    Parameters
    ----------
    pool
        Its pool.
    worker, host
        Names of the worker and its node.
    problem
        Its reason.
    """
    example = exclusion_example(host, pool.scheduler)
    do = f"exclude {host} (`directives` of the pool{example}) and report it to its administrators; "
    do += f"`export {CHECK_VARIABLE}=none` in `setup` of the pool trusts GPUs without a check"
    return SiteFinding(place_of(pool), "GPU", Importance.PROBLEM, f"worker {worker} on {host} left: {problem}", do)
