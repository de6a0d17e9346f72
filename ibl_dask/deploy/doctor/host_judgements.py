"""Judgements of a process and its machine: versions, codecs, disks, quotas, open files, batch commands."""

from __future__ import annotations

from collections.abc import Mapping

from ibl_dask.deploy.batch_systems.registry import batch_system
from ibl_dask.deploy.doctor.disks import Disk
from ibl_dask.deploy.doctor.facts import ProcessFacts
from ibl_dask.deploy.doctor.finding import DRIVER, Importance, SiteFinding
from ibl_dask.deploy.site.profile import Profile

LITTLE_ROOM_GB, NO_ROOM_GB = 20.0, 1.0
"""Free space below which a disk is a warning and a problem, GB: chunks of one session in flight take a few GB."""
SLOW_MB_S = 20.0
"""Rate at which one worker reads and writes at most, MB/s."""
SLOW_FILE_MS = 200.0
"""Time to write one small file above which a disk is slow, ms: a step leaves one or two."""


def judge_own_versions(facts: ProcessFacts) -> SiteFinding:
    """Return the versions of the driver."""
    return SiteFinding(DRIVER, "versions", Importance.OK, f"{_format_versions(facts.versions)} ({facts.python})")


def judge_versions(place: str, driver: ProcessFacts, worker: ProcessFacts) -> SiteFinding:
    """Judge whether a worker has the versions and source files of the driver.

    Parameters
    ----------
    place
        Place of the finding.
    driver, worker
        Facts of both processes.
    """
    differ = compare_versions(driver.versions, worker.versions)
    if differ:
        return SiteFinding(
            place, "versions", Importance.PROBLEM, differ, _same_environment(worker.python, driver.python)
        )
    if worker.source != driver.source:
        found = f"the source files of ibl_dask differ (driver {driver.source}, worker {worker.source})"
        return SiteFinding(
            place, "versions", Importance.PROBLEM, found, _same_environment(worker.python, driver.python)
        )
    return SiteFinding(place, "versions", Importance.OK, f"as the driver ({worker.python} on {worker.host})")


def compare_versions(driver: Mapping[str, str], worker: Mapping[str, str]) -> str:
    """Return the differing versions as text; empty if there are none."""
    names = [name for name in {**driver, **worker} if driver.get(name) != worker.get(name)]
    return "; ".join(
        f"{name}: driver {driver.get(name) or 'none'}, worker {worker.get(name) or 'none'}" for name in names
    )


def _same_environment(worker: str, driver: str) -> str:
    return f"install the same versions for {worker} as for {driver}, or set `python` of the pool to one that has them"


def judge_codecs(place: str, codecs: Mapping[str, str]) -> list[SiteFinding]:
    """Judge whether videos can be decoded and encoded.

    Parameters
    ----------
    place
        Place of the findings.
    codecs
        Problem of each codec; empty for one that works.
    """
    bad = {name: problem for name, problem in codecs.items() if problem}
    if not bad:
        return [SiteFinding(place, "codecs", Importance.OK, f"{', '.join(codecs)}: encoded and decoded")]
    do = "reinstall PyAV from its wheel, which brings these codecs along: pip install --force-reinstall av"
    return [
        SiteFinding(place, f"codec {name}", Importance.PROBLEM, " ".join(problem.split()), do)
        for name, problem in bad.items()
    ]


def judge_disk(place: str, check: str, disk: Disk) -> SiteFinding:
    """Judge speed and free space of a folder.

    Parameters
    ----------
    place
        Place of the finding.
    check
        `work folder` or `local scratch`.
    disk
        Measurements of the folder.
    """
    if disk.problem:
        do = "make the folder writable from there, or name another one "
        do += "(`scratch` of the profile, --work-dir)" if check == "work folder" else "(`scratch` of the pool)"
        return SiteFinding(place, check, Importance.PROBLEM, f"{disk.folder}: {disk.problem}", do)
    found = (
        f"{disk.folder}: writes {disk.write_mb_s:,.0f} MB/s, reads {disk.read_mb_s:,.0f} MB/s, "
        f"a small file in {disk.small_file_ms:.3g} ms, {disk.free_gb:,.0f} GB free"
    )
    importance, advice = Importance.OK, []
    if disk.free_gb < LITTLE_ROOM_GB:
        importance = Importance.PROBLEM if disk.free_gb < NO_ROOM_GB else Importance.WARNING
        advice.append(f"free some space: a session in work needs a few GB ({LITTLE_ROOM_GB:g} GB are comfortable)")
    if min(disk.write_mb_s, disk.read_mb_s) < SLOW_MB_S:
        importance = max(importance, Importance.WARNING)
        advice.append(f"name a faster disk, or use few workers: each reads and writes up to {SLOW_MB_S:g} MB/s")
    if disk.small_file_ms > SLOW_FILE_MS:
        importance = max(importance, Importance.WARNING)
        advice.append("name a disk that takes small files quickly: every chunk leaves one or two")
    return SiteFinding(place, check, importance, found, "; ".join(advice))


def judge_quota(place: str, quota: str) -> SiteFinding:
    """Judge whether a quota is nearly used up."""
    if quota:
        return SiteFinding(
            place, "quota", Importance.WARNING, quota, "free some space before a long run, or ask for more"
        )
    return SiteFinding(place, "quota", Importance.OK, "no quota is nearly used up, according to the `quota` command")


def judge_open_files(place: str, limits: tuple[int, int], needed: int) -> SiteFinding:
    """Judge whether a process may open as many files and connections as it needs.

    Parameters
    ----------
    place
        Place of the finding.
    limits
        Soft and hard limit of open files; negative for none.
    needed
        Number of files and connections.
    """
    soft, hard = (float("inf") if limit < 0 else limit for limit in limits)
    found = f"{soft:,.0f} open files allowed ({hard:,.0f} on request), {needed:,} needed"
    if soft >= needed:
        return SiteFinding(place, "open files", Importance.OK, found)
    start = "before starting the driver" if place == DRIVER else "in `setup` of the pool"
    do = (
        f"run `ulimit -n {needed}` {start}"
        if hard >= needed
        else f"ask the administrators of the machine for at least {needed:,} (limits.conf), or use fewer workers"
    )
    return SiteFinding(place, "open files", Importance.PROBLEM, found, do)


def judge_commands(commands: Mapping[str, str], profile: Profile) -> list[SiteFinding]:
    """Judge whether the commands of a profile's batch system exist.

    Parameters
    ----------
    commands
        Path of each command; empty for one that was not found.
    profile
        The site.
    """
    findings = []
    for scheduler in dict.fromkeys(pool.scheduler for pool in profile.pools if not pool.is_local):
        names = batch_system(scheduler).commands
        missing = [name for name in names if not commands.get(name)]
        if missing:
            do = "run ibl-dask where jobs can be submitted (a login node), or load the module that has the commands"
            found = f"not found: {', '.join(missing)}"
            findings.append(SiteFinding(DRIVER, f"commands of {scheduler}", Importance.PROBLEM, found, do))
        else:
            found = ", ".join(commands[name] for name in names)
            findings.append(SiteFinding(DRIVER, f"commands of {scheduler}", Importance.OK, found))
    return findings


def judge_hooks(programs: Mapping[str, str], profile: Profile) -> list[SiteFinding]:
    """Judge whether the programs that tell people of a run exist where the driver runs.

    Parameters
    ----------
    programs
        Path of each program; empty for one that was not found.
    profile
        The site.
    """
    findings = []
    for occasion, command in profile.hooks.items():
        if command and programs.get(command[0]):
            findings.append(SiteFinding(DRIVER, occasion, Importance.OK, programs[command[0]]))
        elif command:
            do = f"install {command[0]}, or mend `{occasion}` ({profile.line(occasion)})"
            found = f"no program {command[0]} that may be executed"
            findings.append(SiteFinding(DRIVER, occasion, Importance.PROBLEM, found, do))
    return findings


def _format_versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version or 'none'}" for name, version in versions.items())
