"""Look at a site: the driver, and one worker of each pool, started for this."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.cluster.worker_setup import refusals
from ibl_dask.deploy.doctor import judgements as doctor
from ibl_dask.deploy.doctor.disks import Seen, look_for, write_token
from ibl_dask.deploy.doctor.facts import Facts, gather, now_s, read_versions
from ibl_dask.deploy.doctor.judgements import Finding, Importance
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.errors import IblDaskError, RunError
from ibl_dask.store.atomic import make_folder

WAIT_S = 300.0
"""How long to wait for a worker, s: time in the queue, and the start of Python."""
SEEN_WITHIN_S = 65.0
"""How long to wait for a file of another machine, s: NFS looks again after 60 s at the latest."""
ANSWER_S = 300.0
"""How long a worker may take to look at itself, s; most of it is writing to a slow disk."""
_LOOKED_EVERY_S = 0.5
_ROUND_TRIPS = 7


def examine(
    profile: Profile,
    work_folder: Path,
    *,
    wait_s: float = WAIT_S,
    seen_within_s: float = SEEN_WITHIN_S,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Finding]:
    """Look at the driver, start a worker of each pool, and look at these.

    Parameters
    ----------
    profile : Profile
        The site.
    work_folder : Path
        Folder that driver and workers share. It is made if it is not there, and removed if it was.
    wait_s : float
        How long to wait for a worker, s.
    seen_within_s : float
        How long to wait for a file of another machine, s.
    tell : callable
        Is told what is waited for.

    Returns
    -------
    list of Finding
        The driver's, and each pool's in the order of the profile.

    Raises
    ------
    NotWritable
        If there is no work folder to look at.
    """
    with _folder(work_folder):
        driver = gather(work_folder)
        findings = doctor.judge_driver(driver, profile)
        if any(finding.check.startswith("commands of") and finding.do for finding in findings):
            return findings
        site = _one_job_each(profile)
        try:
            with connect(site) as client:
                tell("waiting for a worker of " + ", ".join(doctor.place_of(pool) for pool in site.pools))
                for pool, worker in _first_workers(client, site, wait_s):
                    if isinstance(worker, Finding):
                        findings.append(worker)
                    else:
                        tell(f"looking at {worker[0]}")
                        findings += _look_at(client, site, pool, worker, driver, work_folder, seen_within_s)
                        findings += [
                            doctor.judge_refusal(pool, left["worker"], left["host"], left["problem"])
                            for left in _left(client, site, pool)
                        ]
        except RunError as error:
            findings.append(
                Finding(doctor.DRIVER, "workers", Importance.PROBLEM, f"{error.what}: {error.got}", error.do)
            )
    return findings


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Have a folder, which stays if it was there before or somebody else uses it meanwhile."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


def _one_job_each(profile: Profile) -> Profile:
    """Return a profile whose pools have one job each, which comes whether there is work or not."""
    return replace(profile, pools=tuple(replace(pool, min_jobs=1, max_jobs=1) for pool in profile.pools))


_Worker = tuple[str, str]
"""Name and address of a worker."""


def _first_workers(client: Any, profile: Profile, wait_s: float) -> Iterator[tuple[Pool, _Worker | Finding]]:
    """Yield a worker of each pool as they come; for a pool of which none comes, why."""
    start_s = time.monotonic()
    waiting = list(profile.pools)
    while waiting:
        waited_s = time.monotonic() - start_s
        here = {str(info["name"]): (address, info) for address, info in _workers(client).items()}
        for pool in list(waiting):
            # A worker that is about to leave offers nothing any more.
            names = [name for name, (_, info) in here.items() if _belongs(name, profile, pool) and info["resources"]]
            if names:
                waiting.remove(pool)
                yield pool, (min(names), here[min(names)][0])
            elif len(left := _left(client, profile, pool)) >= pool.workers_per_job:
                waiting.remove(pool)
                yield pool, doctor.judge_refusal(pool, left[-1]["worker"], left[-1]["host"], left[-1]["problem"])
            elif waited_s > wait_s or (reason := _given_up(client, pool)):
                waiting.remove(pool)
                said = [reason] if waited_s <= wait_s else what_was_said(client, pool)
                yield pool, doctor.judge_absence(pool, waited_s, said)
        if waiting:
            time.sleep(_LOOKED_EVERY_S)


def _workers(client: Any) -> dict[str, Any]:  # distributed has no types
    return dict(client.scheduler_info(n_workers=-1)["workers"])


def _belongs(worker: str, profile: Profile, pool: Pool) -> bool:
    """Return whether a worker is one of a pool: `{pool}-{job}`, `{pool}-{job}-{i}`, or any where all are local."""
    return profile.is_local or re.fullmatch(re.escape(pool.name) + r"(-\d+){1,2}", worker) is not None


def _given_up(client: Any, pool: Pool) -> str:
    """Return why the cluster tries no more jobs of a pool; empty while it does."""
    if not hasattr(client.cluster, "hopeless"):
        return ""
    return str(client.cluster.hopeless(pool.worker_resources) or "")


def _left(client: Any, profile: Profile, pool: Pool) -> list[dict[str, str]]:  # distributed has no types
    """Return the workers of a pool that left instead of taking steps."""
    return [left for left in refusals(client) if _belongs(left["worker"], profile, pool)]


def what_was_said(client: Any, pool: Pool) -> list[str]:
    """Return what the batch system, and the log of a job that failed, said about a pool."""
    if not hasattr(client.cluster, "pools"):
        return []
    said: list[str] = []
    for state in client.cluster.pools():
        if state.pool.name == pool.name:
            said += [f"job {number}: {text or 'not in the queue yet'}" for number, text in state.queue.items()]
            said += [state.failure] if state.failure else []
    return said


def _look_at(
    client: Any,
    profile: Profile,
    pool: Pool,
    worker: _Worker,
    driver: Facts,
    work_folder: Path,
    seen_within_s: float,
) -> list[Finding]:
    name, address = worker
    place = doctor.place_of(pool)
    found = [Finding(place, "worker", Importance.OK, f"{name} at {address}")]
    try:
        shared = _try_shared(client, address, place, work_folder, seen_within_s)
        found += [shared, doctor.judge_clock(place, *_compare_clocks(client, address))]
        if shared.importance < Importance.PROBLEM:
            facts: Facts = _at(client, address, gather, work_folder, has_gpu=bool(pool.gpus))
            found += doctor.judge_worker(driver, facts, profile, pool)
    except Exception as error:  # noqa: BLE001  # whatever a worker of another version answers is a finding
        found.append(_unable(client, address, place, driver, error))
    return found


def _at(client: Any, address: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function in a worker."""
    name = function.__name__.strip("_").replace("_", "-")
    key = f"doctor-{name}-{secrets.token_hex(4)}"
    return client.submit(function, *args, workers=[address], key=key, **kwargs).result(timeout=ANSWER_S)


def _try_shared(client: Any, address: str, place: str, folder: Path, within_s: float) -> Finding:
    """Let driver and worker each read what the other writes, after it has looked in vain."""
    own = folder / f"doctor-{secrets.token_hex(8)}"
    here, there = own / "from-driver", own / "from-worker"
    own.mkdir()
    try:
        seen: Seen = _at(client, address, look_for, own, None, within_s)
        if seen.problem:
            return doctor.judge_shared(place, str(folder), seen, None)
        _at(client, address, look_for, here, "", 0.0)
        token = secrets.token_hex(8)
        here.write_text(token)
        by_worker: Seen = _at(client, address, look_for, here, token, within_s)
        look_for(there, "", 0.0)
        refused: str = _at(client, address, write_token, there, token)
        by_driver = Seen(0.0, f"{refused} (the worker may not write)") if refused else look_for(there, token, within_s)
        return doctor.judge_shared(place, str(folder), by_worker, by_driver)
    finally:
        for path in (here, there):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what the worker's machine still holds open goes with it
            own.rmdir()


def _compare_clocks(client: Any, address: str) -> tuple[float, float]:
    """Return how far a worker's clock is ahead, and how wrong that may be, s: from the quickest of some questions."""
    trips = []
    for _ in range(_ROUND_TRIPS):
        start_s, begun_s = time.time(), time.perf_counter()
        (theirs_s,) = client.run(now_s, workers=[address]).values()
        took_s = time.perf_counter() - begun_s
        trips.append((took_s / 2, theirs_s - (start_s + took_s / 2)))
    within_s, ahead_s = min(trips)
    return ahead_s, within_s


def _unable(client: Any, address: str, place: str, driver: Facts, error: Exception) -> Finding:
    """Say why a worker could not be looked at: as a rule since it has other versions."""
    differ = ""
    with contextlib.suppress(Exception):
        told = client.get_versions(packages=list(driver.versions.keys() - {"python"}))
        packages = told["workers"][address]["packages"]
        theirs = {name: str(packages.get(name) or "") for name in driver.versions}
        differ = doctor.compare_versions({**read_versions(), "python": told["client"]["packages"]["python"]}, theirs)
    text = error.what if isinstance(error, IblDaskError) else " ".join(f"{type(error).__name__}: {error}".split())
    return Finding(
        place,
        "versions" if differ else "worker",
        Importance.PROBLEM,
        f"{differ}; it could not be looked at: {text}" if differ else f"it could not be looked at: {text}",
        "let workers have the same versions as the driver: `python` of the pool" if differ else "look at the job's log",
    )
