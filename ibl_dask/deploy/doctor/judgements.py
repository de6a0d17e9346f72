"""Judgements about a site: from facts to findings, without looking anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

from ibl_dask.deploy.cluster.gpu import CHECK_VARIABLE
from ibl_dask.deploy.doctor.disks import Disk, Made, Seen
from ibl_dask.deploy.doctor.facts import BATCH_COMMANDS, Facts
from ibl_dask.deploy.site.profile import Pool, Profile

DRIVER = "driver"
"""Where the driver's own findings belong."""
LATE_S = 5.0
"""A file that appears later than this holds up a run: steps look for the files of others."""
CLOCK_WARNING_S = 1.0
CLOCK_PROBLEM_S = 30.0
"""Difference of clocks that matters, s. Ages of files and locks are compared across machines, with hours to spare; a
journal whose times disagree is hard to read."""
LITTLE_ROOM_GB, NO_ROOM_GB = 20.0, 1.0
"""Chunks of one session in flight take a few GB; what becomes of it stays elsewhere."""
SLOW_MB_S = 20.0
"""What one worker reads and writes at its busiest, MB/s."""
SLOW_FILE_MS = 200.0
"""A step leaves one or two small files."""
FILES_PER_WORKER = 12
"""Files and connections that the driver has for a worker: 11 for one on its own machine, fewer for one in a job."""
FILES_BESIDES = 200
"""Files that the driver has open besides."""
WORKER_FILES = 256
"""Files that a worker has open at most."""
BUSY_GPU = 0.2
"""Share of a GPU's memory that others may use before it is worth saying."""


class Importance(IntEnum):
    """How much a finding matters; a larger one is worse."""

    OK = 0
    NOTE = 10
    WARNING = 20
    PROBLEM = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    place: str
    """`driver`, or `pool NAME`."""
    check: str
    """What was looked at."""
    importance: Importance
    """How much it matters."""
    found: str
    """What was found, with units."""
    do: str = ""
    """What to do about it; empty where nothing needs to be done."""

    def to_json(self) -> dict[str, Any]:
        """Return a mapping that JSON holds and `report.terminal.doctor_table` shows."""
        return asdict(self) | {"importance": self.importance.name.lower()}


def judge_driver(facts: Facts, profile: Profile) -> list[Finding]:
    """Judge what is known of the driver."""
    n_files = FILES_PER_WORKER * profile.most_workers + FILES_BESIDES
    return [
        judge_own_versions(facts),
        *judge_codecs(DRIVER, facts.codecs),
        judge_disk(DRIVER, "work folder", facts.work),
        judge_quota(DRIVER, facts.quota),
        judge_open_files(DRIVER, facts.open_files, n_files),
        *judge_commands(facts.commands, profile),
    ]


def judge_worker(driver: Facts, worker: Facts, profile: Profile, pool: Pool) -> list[Finding]:
    """Judge what is known of a worker of a pool."""
    place = place_of(pool)
    found = [
        judge_versions(place, driver, worker),
        *judge_codecs(place, worker.codecs),
        judge_disk(place, "work folder", worker.work),
        judge_disk(place, "local scratch", worker.local),
        judge_quota(place, worker.quota),
        judge_open_files(place, worker.open_files, WORKER_FILES),
        judge_made(place, driver.made, worker.made, profile),
        judge_threads(place, worker.threads, pool),
    ]
    if pool.gpus:
        found.append(judge_gpu(place, worker))
    return found


def place_of(pool: Pool) -> str:
    """Return the name of a pool as findings say it."""
    return f"pool {pool.name}"


def judge_own_versions(facts: Facts) -> Finding:
    """Say which versions the driver has."""
    return Finding(DRIVER, "versions", Importance.OK, f"{_say_versions(facts.versions)} ({facts.python})")


def judge_versions(place: str, driver: Facts, worker: Facts) -> Finding:
    """Compare the versions of a worker with those of the driver."""
    differ = compare_versions(driver.versions, worker.versions)
    if differ:
        return Finding(place, "versions", Importance.PROBLEM, differ, _same_environment(worker.python, driver.python))
    if worker.source != driver.source:
        found = f"the source files of ibl_dask differ (driver {driver.source}, worker {worker.source})"
        return Finding(place, "versions", Importance.PROBLEM, found, _same_environment(worker.python, driver.python))
    return Finding(place, "versions", Importance.OK, f"as the driver ({worker.python} on {worker.host})")


def compare_versions(driver: Mapping[str, str], worker: Mapping[str, str]) -> str:
    """Say which versions differ; empty where none does."""
    names = [name for name in {**driver, **worker} if driver.get(name) != worker.get(name)]
    return "; ".join(
        f"{name}: driver {driver.get(name) or 'none'}, worker {worker.get(name) or 'none'}" for name in names
    )


def _same_environment(worker: str, driver: str) -> str:
    return f"install the same versions for {worker} as for {driver}, or set `python` of the pool to one that has them"


def judge_codecs(place: str, codecs: Mapping[str, str]) -> list[Finding]:
    """Judge whether videos can be decoded and encoded."""
    bad = {name: problem for name, problem in codecs.items() if problem}
    if not bad:
        return [Finding(place, "codecs", Importance.OK, f"{', '.join(codecs)}: encoded and decoded")]
    do = "reinstall PyAV from its wheel, which brings these codecs along: pip install --force-reinstall av"
    return [
        Finding(place, f"codec {name}", Importance.PROBLEM, " ".join(problem.split()), do)
        for name, problem in bad.items()
    ]


def judge_disk(place: str, check: str, disk: Disk) -> Finding:
    """Judge speed and room of a folder."""
    if disk.problem:
        do = "make the folder writable from there, or name another one "
        do += "(`scratch` of the profile, --work-dir)" if check == "work folder" else "(`scratch` of the pool)"
        return Finding(place, check, Importance.PROBLEM, f"{disk.folder}: {disk.problem}", do)
    found = (
        f"{disk.folder}: writes {disk.write_mb_s:,.0f} MB/s, reads {disk.read_mb_s:,.0f} MB/s, "
        f"a small file in {disk.small_file_ms:.3g} ms, {disk.free_gb:,.0f} GB free"
    )
    importance, advice = Importance.OK, []
    if disk.free_gb < LITTLE_ROOM_GB:
        importance = Importance.PROBLEM if disk.free_gb < NO_ROOM_GB else Importance.WARNING
        advice.append(f"free some room: a session in work needs a few GB ({LITTLE_ROOM_GB:g} GB are comfortable)")
    if min(disk.write_mb_s, disk.read_mb_s) < SLOW_MB_S:
        importance = max(importance, Importance.WARNING)
        advice.append(f"name a faster disk, or use few workers: each reads and writes up to {SLOW_MB_S:g} MB/s")
    if disk.small_file_ms > SLOW_FILE_MS:
        importance = max(importance, Importance.WARNING)
        advice.append("name a disk that takes small files quickly: every chunk leaves one or two")
    return Finding(place, check, importance, found, "; ".join(advice))


def judge_quota(place: str, quota: str) -> Finding:
    """Judge whether a quota is nearly used up."""
    if quota:
        return Finding(place, "quota", Importance.WARNING, quota, "free some room before a long run, or ask for more")
    return Finding(place, "quota", Importance.OK, "no quota is nearly used up, as far as the `quota` command tells")


def judge_open_files(place: str, limits: tuple[int, int], needed: int) -> Finding:
    """Judge whether a process may have as many files and connections open as it will need."""
    soft, hard = (float("inf") if limit < 0 else limit for limit in limits)
    found = f"{soft:,.0f} open files allowed ({hard:,.0f} on request), {needed:,} needed"
    if soft >= needed:
        return Finding(place, "open files", Importance.OK, found)
    start = "before starting the driver" if place == DRIVER else "in `setup` of the pool"
    do = (
        f"run `ulimit -n {needed}` {start}"
        if hard >= needed
        else f"ask whoever looks after the machine for at least {needed:,} (limits.conf), or use fewer workers"
    )
    return Finding(place, "open files", Importance.PROBLEM, found, do)


def judge_commands(commands: Mapping[str, str], profile: Profile) -> list[Finding]:
    """Judge whether the batch systems of a profile can be talked to."""
    findings = []
    for scheduler in dict.fromkeys(pool.scheduler for pool in profile.pools if pool.scheduler != "local"):
        missing = [name for name in BATCH_COMMANDS[scheduler] if not commands.get(name)]
        if missing:
            do = "run ibl-dask where jobs can be submitted (a login node), or load the module that has the commands"
            found = f"not found: {', '.join(missing)}"
            findings.append(Finding(DRIVER, f"commands of {scheduler}", Importance.PROBLEM, found, do))
        else:
            found = ", ".join(commands[name] for name in BATCH_COMMANDS[scheduler])
            findings.append(Finding(DRIVER, f"commands of {scheduler}", Importance.OK, found))
    return findings


def judge_made(place: str, driver: Made, worker: Made, profile: Profile) -> Finding:
    """Judge permissions, owner and group of files that workers make."""
    if not worker.owner:
        return Finding(place, "new files", Importance.NOTE, "none could be made in the work folder")
    found = f"made with {worker.mode:03o}, owner {worker.owner}, group {worker.group}"
    if worker.owner != driver.owner:
        do = "let driver and workers run as the same user; a file server may also rename the user (root becomes nobody)"
        return Finding(place, "new files", Importance.PROBLEM, f"{found}; the driver's belong to {driver.owner}", do)
    if profile.umask is not None and worker.mode & profile.umask:
        do = f"look at `umask` in `setup` of the pool: {profile.line('umask')} says {profile.umask:03o}"
        return Finding(place, "new files", Importance.PROBLEM, found, do)
    if profile.group is not None and worker.group != profile.group:
        do = f"chgrp {profile.group} and chmod g+s the work folder: {profile.line('group')} wants that group"
        return Finding(place, "new files", Importance.PROBLEM, found, do)
    return Finding(place, "new files", Importance.OK, found)


def judge_threads(place: str, threads: str, pool: Pool) -> Finding:
    """Judge whether libraries use the cores of a worker, and no more."""
    cores = max(1, pool.cores // pool.workers_per_job)
    found = f"{threads or 'as many as they like'} for libraries, {cores} core{'s' * (cores > 1)} for each worker"
    if threads == str(cores):
        return Finding(place, "threads", Importance.OK, found)
    do = "remove OMP_NUM_THREADS from `setup` of the pool: it is set from `cores` and `workers_per_job`"
    return Finding(place, "threads", Importance.WARNING, found, do)


def judge_gpu(place: str, worker: Facts) -> Finding:
    """Judge the GPU of a worker, and how much of its memory is left."""
    gpu = worker.gpu
    if gpu is None or gpu.problem:
        found = gpu.problem if gpu else "this worker has none"
        do = f"leave {worker.host} out (`directives` of the pool) and tell those who look after it"
        return Finding(place, "GPU", Importance.PROBLEM, found, do)
    if not gpu.is_checked:
        do = f"set {CHECK_VARIABLE}=cuda unless these are no devices of NVIDIA's"
        return Finding(place, "GPU", Importance.WARNING, f"device {gpu.device}, not tried ({CHECK_VARIABLE}=none)", do)
    found = f"{gpu.name}, device {gpu.device}: {gpu.free_gb:.1f} of {gpu.total_gb:.1f} GB free"
    if gpu.free_gb < (1 - BUSY_GPU) * gpu.total_gb:
        do = "see with nvidia-smi who else uses it; the batch system should give each GPU to one job"
        return Finding(place, "GPU", Importance.WARNING, found, do)
    return Finding(place, "GPU", Importance.OK, found)


def judge_shared(place: str, folder: str, there: Seen, back: Seen | None) -> Finding:
    """Judge whether driver and worker see each other's files in the work folder.

    Parameters
    ----------
    place, folder
        Where, and the work folder.
    there
        How the worker saw a file of the driver.
    back
        How the driver saw a file of the worker; None where that was not tried.
    """
    for seen, who in (
        (there, "the worker looked for what the driver wrote"),
        (back, "the driver looked for what the worker wrote"),
    ):
        if seen is not None and seen.problem:
            found = f"{folder}: {who}, and found {seen.problem} after {seen.waited_s:.0f} s"
            do = "name a folder that every node has under the same path (`scratch` of the profile, --work-dir)"
            return Finding(place, "shared folder", Importance.PROBLEM, found, do)
    latest_s = max(there.waited_s, back.waited_s if back else 0.0)
    found = f"{folder}: a file of the driver is there after {there.waited_s:.2f} s"
    found += f", one of the worker after {back.waited_s:.2f} s" if back else ""
    if latest_s > LATE_S:
        do = "ask for shorter attribute caching on this mount (NFS: actimeo=1 or lookupcache=positive)"
        return Finding(place, "shared folder", Importance.WARNING, found, do)
    return Finding(place, "shared folder", Importance.OK, found)


def judge_clock(place: str, ahead_s: float, within_s: float) -> Finding:
    """Judge how far the clock of a worker is from the driver's.

    Parameters
    ----------
    place
        Where.
    ahead_s
        The worker's clock minus the driver's, s.
    within_s
        How far that may be wrong: half of a round trip, s.
    """
    off_s = max(0.0, abs(ahead_s) - within_s)
    found = f"{ahead_s:+.3f} s against the driver, within {within_s:.3f} s"
    do = "have the clocks of driver and node set by a time server (chrony, ntpd)"
    if off_s > CLOCK_PROBLEM_S:
        return Finding(place, "clock", Importance.PROBLEM, found, do)
    if off_s > CLOCK_WARNING_S:
        return Finding(place, "clock", Importance.WARNING, found, do)
    return Finding(place, "clock", Importance.OK, found)


def judge_absence(pool: Pool, waited_s: float, said: Sequence[str]) -> Finding:
    """Say why no worker of a pool came.

    Parameters
    ----------
    pool
        The pool.
    waited_s
        How long was waited for one, s.
    said
        What the batch system, the log of the job or the worker itself said.
    """
    reason = "; ".join(said) or "nothing was said about it"
    found = f"no worker within {waited_s:.0f} s: {reason}"
    do = "look at what was said; `ibl-dask jobscript` prints the script to try by hand, --wait gives a full queue time"
    return Finding(place_of(pool), "worker", Importance.PROBLEM, found, do)


def judge_refusal(pool: Pool, worker: str, host: str, problem: str) -> Finding:
    """Say why a worker of a pool left instead of taking steps."""
    do = f"leave {host} out (`directives` of the pool, such as --exclude={host}) and tell those who look after it; "
    do += f"`export {CHECK_VARIABLE}=none` in `setup` of the pool takes GPUs unseen"
    return Finding(place_of(pool), "GPU", Importance.PROBLEM, f"worker {worker} on {host} left: {problem}", do)


def worst(findings: Sequence[Finding]) -> Importance:
    """Return the worst importance; OK where there is none."""
    return max((finding.importance for finding in findings), default=Importance.OK)


def _say_versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version or 'none'}" for name, version in versions.items())
