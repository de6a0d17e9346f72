"""Commands of batch systems: run with a time limit, answers parsed by the `BatchSystem`."""

from __future__ import annotations

import asyncio
import getpass
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ibl_dask.deploy.batch_systems.job_logs import log_tail
from ibl_dask.deploy.batch_systems.protocol import BatchSystem, Command, QueuedJob
from ibl_dask.store.holder import JobState

ANSWER_S = 30.0
"""Time limit of a command that the driver's event loop waits for, s."""
QUERY_S = 10.0
"""Time limit of the question for the state of one job, s."""


class Answer(NamedTuple):
    """Result of a command."""

    code: int
    """Exit code; 127 for a missing program, 124 for one that exceeded its time limit."""
    out: str = ""
    """Standard output."""
    err: str = ""
    """Standard error."""


async def run_command(command: Command) -> Answer:
    """Run a command; kill one that does not end within `ANSWER_S`."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return Answer(127, err=str(error))
    try:
        out, err = await asyncio.wait_for(process.communicate(), ANSWER_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return Answer(124, err=f"{command[0]} did not answer for {ANSWER_S:g} s")
    return Answer(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


async def read_queue(system: BatchSystem) -> dict[str, QueuedJob] | None:
    """Return this user's jobs that have not ended, by number; None if the batch system does not answer."""
    answer = await run_command(system.queue_command(getpass.getuser()))
    return None if answer.code != 0 else system.parse_queue(answer.out)


async def exclude_from_queued(
    system: BatchSystem, job_id: str, directives: Sequence[str], nodes: Sequence[str]
) -> None:
    """Keep a waiting job from nodes, where the batch system can; a job that has started is not changed.

    Parameters
    ----------
    system
        Batch system of the job.
    job_id
        Number of the job.
    directives
        Directives that it was submitted with, whose own exclusions are kept.
    nodes
        Names of the nodes.
    """
    command = system.exclude_command(job_id, directives, nodes)
    if command:
        await run_command(command)


async def describe_ended(system: BatchSystem, job_id: str, folders: Sequence[Path]) -> str:
    """Return the final state of a job, if the batch system keeps it, and the end of its log.

    Parameters
    ----------
    system
        Batch system of the job.
    job_id
        Number of the job.
    folders
        Folders that may hold its log.
    """
    log = await asyncio.to_thread(log_tail, job_id, folders)
    parts = [system.parse_details(await _details(system, job_id)), log]
    return "; ".join(filter(None, parts)) or "nothing: no log of it was found"


async def exceeded_walltime_s(system: BatchSystem, job_id: str, folders: Sequence[Path]) -> int | None:
    """Return the time limit that ended a job, s; None where something else ended it. See `describe_ended`.

    Parameters
    ----------
    system
        Batch system of the job.
    job_id
        Number of the job.
    folders
        Folders in which the log of the job may be.
    """
    log = await asyncio.to_thread(log_tail, job_id, folders)
    return system.exceeded_walltime_s(await _details(system, job_id), log)


async def _details(system: BatchSystem, job_id: str) -> str:
    command = system.details_command(job_id)
    if not command:
        return ""
    answer = await run_command(command)
    return answer.out if answer.code == 0 else ""


def query_job(system: BatchSystem, number: str) -> JobState:
    """Return the state of a job of any user; blocks for up to `QUERY_S`."""
    try:
        done = subprocess.run(
            system.state_command(number),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=QUERY_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return system.parse_state(number, done.returncode, done.stdout, done.stderr)
