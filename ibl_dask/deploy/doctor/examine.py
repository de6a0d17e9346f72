"""Examination of a site: the driver, and one worker of each pool, which is started for the purpose."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar

from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.cluster.refusals import Refusal, refusals
from ibl_dask.deploy.doctor.disks import SeenFile, look_for, write_token
from ibl_dask.deploy.doctor.facts import ProcessFacts, find_programs, gather, now_s, read_versions
from ibl_dask.deploy.doctor.finding import DRIVER, Importance, SiteFinding, place_of
from ibl_dask.deploy.doctor.host_judgements import compare_versions, judge_hooks
from ibl_dask.deploy.doctor.judgements import judge_driver, judge_worker
from ibl_dask.deploy.doctor.worker_judgements import judge_absence, judge_clock, judge_refusal, judge_shared
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.errors import IblDaskError, RunError
from ibl_dask.store.atomic import make_folder

if TYPE_CHECKING:
    from distributed import Client

    from ibl_dask.deploy.cluster.jobs import PoolState

WAIT_S = 300.0
"""Time limit for a worker to connect, s: time in the queue, and the start of Python."""
SEEN_WITHIN_S = 65.0
"""Time limit for a file of another machine to appear, s: NFS refreshes after 60 s at the latest."""
ANSWER_S = 300.0
"""Time limit of a worker's answer, s; most of it is writing to a slow disk."""
_LOOKED_EVERY_S = 0.5
_ROUND_TRIPS = 7

P = ParamSpec("P")
T = TypeVar("T")


def examine(
    profile: Profile,
    work_folder: Path,
    *,
    wait_s: float = WAIT_S,
    seen_within_s: float = SEEN_WITHIN_S,
    progress: Callable[[str], None] = lambda text: None,
) -> list[SiteFinding]:
    """Check the driver, start a worker of each pool, and check these.

    Parameters
    ----------
    profile : Profile
        The site.
    work_folder : Path
        Folder that driver and workers share. If it does not exist, it is created and removed afterwards.
    wait_s : float
        Time limit for a worker to connect, s.
    seen_within_s : float
        Time limit for a file of another machine to appear, s.
    progress : callable
        Receives a line of text before each long wait.

    Returns
    -------
    list of SiteFinding
        Of the driver, and of each pool as its worker connects.

    Raises
    ------
    NotWritable
        If the work folder cannot be created.
    """
    with _folder(work_folder):
        driver = gather(work_folder)
        findings = judge_driver(driver, profile)
        findings += judge_hooks(find_programs(words[0] for words in profile.hooks.values() if words), profile)
        if any(finding.check.startswith("commands of") and finding.do for finding in findings):
            return findings
        site = _one_job_each(profile)
        try:
            with connect(site) as client:
                progress("waiting for a worker of " + ", ".join(place_of(pool) for pool in site.pools))
                for pool, worker in _first_workers(client, site, wait_s):
                    if isinstance(worker, SiteFinding):
                        findings.append(worker)
                    else:
                        progress(f"looking at {worker[0]}")
                        findings += _examine_worker(client, site, pool, worker, driver, work_folder, seen_within_s)
                        findings += [_judge_left(pool, refusal) for refusal in _left(client, site, pool)]
        except RunError as error:
            findings.append(SiteFinding(DRIVER, "workers", Importance.PROBLEM, f"{error.what}: {error.got}", error.do))
    return findings


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Provide a folder; remove the folders created for it, unless something is in them."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    make_folder(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


def _one_job_each(profile: Profile) -> Profile:
    """Return a profile in which each pool has exactly one job, with or without work."""
    return replace(profile, pools=tuple(replace(pool, min_jobs=1, max_jobs=1) for pool in profile.pools))


_Worker = tuple[str, str]
"""Name and address of a worker."""


class _WorkerInfo(TypedDict):
    """The part of `scheduler_info()["workers"]` that is used."""

    name: object
    resources: dict[str, float]


def _first_workers(client: Client, profile: Profile, wait_s: float) -> Iterator[tuple[Pool, _Worker | SiteFinding]]:
    """Yield the first worker of each pool as it connects, or a finding for a pool of which none does."""
    start_s = time.monotonic()
    waiting = list(profile.pools)
    while waiting:
        waited_s = time.monotonic() - start_s
        connected = {str(info["name"]): (address, info) for address, info in _workers(client).items()}
        for pool in list(waiting):
            # A worker that is about to leave offers nothing any more.
            names = [
                name for name, (_, info) in connected.items() if _belongs(name, profile, pool) and info["resources"]
            ]
            if names:
                waiting.remove(pool)
                yield pool, (min(names), connected[min(names)][0])
            elif len(left := _left(client, profile, pool)) >= pool.workers_per_job:
                waiting.remove(pool)
                yield pool, _judge_left(pool, left[-1])
            elif waited_s > wait_s or (reason := _given_up(client, pool)):
                waiting.remove(pool)
                reasons = [reason] if waited_s <= wait_s else absence_reasons(client, pool)
                yield pool, judge_absence(pool, waited_s, reasons)
        if waiting:
            time.sleep(_LOOKED_EVERY_S)


def _workers(client: Client) -> dict[str, _WorkerInfo]:
    return dict(client.scheduler_info(n_workers=-1)["workers"])


def _belongs(worker: str, profile: Profile, pool: Pool) -> bool:
    """Return whether a worker is one of a pool: `{pool}-{job}`, `{pool}-{job}-{i}`, or any if all are local."""
    return profile.is_local or re.fullmatch(re.escape(pool.name) + r"(-\d+){1,2}", worker) is not None


def _given_up(client: Client, pool: Pool) -> str:
    """Return the reason for which the cluster submits no more jobs of a pool; empty while it does."""
    reason = getattr(client.cluster, "unschedulable_reason", None)
    return "" if reason is None else str(reason(pool.worker_resources) or "")


def _left(client: Client, profile: Profile, pool: Pool) -> list[Refusal]:
    """Return the refusals of a pool's workers."""
    return [refusal for refusal in refusals(client) if _belongs(refusal["worker"], profile, pool)]


def _judge_left(pool: Pool, refusal: Refusal) -> SiteFinding:
    return judge_refusal(pool, refusal["worker"], refusal["host"], refusal["problem"])


def absence_reasons(client: Client, pool: Pool) -> list[str]:
    """Return the states of a pool's jobs in the queue, and the reason of its last failure."""
    pools = getattr(client.cluster, "pools", None)
    states: list[PoolState] = [] if pools is None else pools()
    reasons: list[str] = []
    for state in states:
        if state.pool.name == pool.name:
            reasons += [f"job {number}: {text or 'not in the queue yet'}" for number, text in state.queue.items()]
            reasons += [state.failure] if state.failure else []
    return reasons


def _examine_worker(
    client: Client,
    profile: Profile,
    pool: Pool,
    worker: _Worker,
    driver: ProcessFacts,
    work_folder: Path,
    seen_within_s: float,
) -> list[SiteFinding]:
    """Return the findings of a connected worker."""
    name, address = worker
    place = place_of(pool)
    findings = [SiteFinding(place, "worker", Importance.OK, f"{name} at {address}")]
    try:
        shared = _try_shared(client, address, place, work_folder, seen_within_s)
        findings += [shared, judge_clock(place, *_compare_clocks(client, address))]
        if shared.importance < Importance.PROBLEM:
            facts = _at(client, address, gather, work_folder, has_gpu=bool(pool.gpus))
            findings += judge_worker(driver, facts, profile, pool)
    except Exception as error:  # noqa: BLE001  # any answer of a worker of another version is a finding
        findings.append(_failed_examination(client, address, place, driver, error))
    return findings


def _at(client: Client, address: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a worker, and return its result."""
    name = function.__name__.strip("_").replace("_", "-")
    key = f"doctor-{name}-{secrets.token_hex(4)}"
    result: T = client.submit(function, *args, workers=[address], key=key, **kwargs).result(timeout=ANSWER_S)
    return result


def _try_shared(client: Client, address: str, place: str, folder: Path, within_s: float) -> SiteFinding:
    """Let driver and worker each read a file that the other writes, after a look at the empty place."""
    own = folder / f"doctor-{secrets.token_hex(8)}"
    of_driver, of_worker = own / "from-driver", own / "from-worker"
    own.mkdir()
    try:
        seen = _at(client, address, look_for, own, None, within_s)
        if seen.problem:
            return judge_shared(place, str(folder), seen, None)
        _at(client, address, look_for, of_driver, "", 0.0)
        token = secrets.token_hex(8)
        of_driver.write_text(token)
        by_worker = _at(client, address, look_for, of_driver, token, within_s)
        look_for(of_worker, "", 0.0)
        refused = _at(client, address, write_token, of_worker, token)
        by_driver = (
            SeenFile(0.0, f"{refused} (the worker may not write)") if refused else look_for(of_worker, token, within_s)
        )
        return judge_shared(place, str(folder), by_worker, by_driver)
    finally:
        for path in (of_driver, of_worker):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a file that the worker's machine holds open is removed with it
            own.rmdir()


def _compare_clocks(client: Client, address: str) -> tuple[float, float]:
    """Return a worker's clock minus the driver's, and its uncertainty, s: from the shortest of several round trips."""
    trips = []
    for _ in range(_ROUND_TRIPS):
        start_s, begun_s = time.time(), time.perf_counter()
        (theirs_s,) = client.run(now_s, workers=[address]).values()
        took_s = time.perf_counter() - begun_s
        trips.append((took_s / 2, theirs_s - (start_s + took_s / 2)))
    within_s, ahead_s = min(trips)
    return ahead_s, within_s


def _failed_examination(
    client: Client, address: str, place: str, driver: ProcessFacts, error: Exception
) -> SiteFinding:
    """Return the finding of a worker whose examination failed, as a rule since it has other versions."""
    differ = ""
    with contextlib.suppress(Exception):
        packages_asked = list(driver.versions.keys() - {"python"})
        versions: Any = client.get_versions(packages=packages_asked)  # a mapping: the client is synchronous
        packages = versions["workers"][address]["packages"]
        theirs = {name: str(packages.get(name) or "") for name in driver.versions}
        differ = compare_versions({**read_versions(), "python": versions["client"]["packages"]["python"]}, theirs)
    text = error.what if isinstance(error, IblDaskError) else " ".join(f"{type(error).__name__}: {error}".split())
    return SiteFinding(
        place,
        "versions" if differ else "worker",
        Importance.PROBLEM,
        f"{differ}; it could not be looked at: {text}" if differ else f"it could not be looked at: {text}",
        "let workers have the same versions as the driver: `python` of the pool" if differ else "look at the job's log",
    )
