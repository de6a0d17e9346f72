"""What a batch system says of our jobs: its queue, and the logs they leave."""

from __future__ import annotations

import asyncio
import getpass
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.deploy.site.profile import Scheduler
from ibl_dask.store.holder import JobState

ANSWER_S = 30.0
"""How long a batch command may take, s."""
TAIL_LINES = 15
"""Lines of a log that are shown."""
TAIL_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Queued:
    """A job in the queue."""

    state: str
    """PENDING, RUNNING, ... in the words of the batch system."""
    reason: str = ""
    """Why it is in that state; empty where nothing was said."""


_QUEUE: Mapping[str, tuple[str, ...]] = {
    "slurm": ("squeue", "--noheader", "--user", "{user}", "--format", "%i|%T|%r"),
    "pbs": ("qstat", "-u", "{user}"),
}
_ENDED = {"C", "F", "X"}
"""States of jobs that a PBS still shows after their end: completed, finished, expired."""
RUNNING = frozenset({"RUNNING", "R"})
"""States of jobs whose workers should be there."""
REQUEUED = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
"""States of jobs that ran and were taken back into the queue. Slurm's alone: what a PBS does with such a job was not
seen, and another might only stand behind it."""
NEVER = frozenset({"BadConstraints"})
"""Reasons why a job waits that say it will never start."""
ASK_S = 10.0
"""How long the batch system may take to say what became of one job, s."""
_ALIVE = frozenset({"RUNNING", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT"})
_SUSPENDED = frozenset({"SUSPENDED", "STOPPED"})
_ENDED_STATES = "COMPLETED CANCELLED FAILED TIMEOUT NODE_FAIL OUT_OF_MEMORY BOOT_FAIL DEADLINE PREEMPTED REVOKED"
ENDING = frozenset({"COMPLETING", "CANCELLED", "E"})
"""States of jobs that are on their way out."""


async def read_queue(scheduler: Scheduler) -> dict[str, Queued] | None:
    """Return this user's jobs that have not ended, by number; None where the batch system does not answer."""
    command = [part.format(user=getpass.getuser()) for part in _QUEUE[scheduler]]
    code, text, _ = await call(command)
    if code != 0:
        return None
    return parse_squeue(text) if scheduler == "slurm" else parse_qstat(text)


async def call(command: list[str]) -> tuple[int, str, str]:
    """Run a batch command; return its exit code, output and errors. One that hangs is ended."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return 127, "", str(error)
    try:
        out, err = await asyncio.wait_for(process.communicate(), ANSWER_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return 124, "", f"{command[0]} did not answer for {ANSWER_S:g} s"
    return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")


def ask_job(number: str) -> JobState:
    """Ask the batch system what became of a job, of whichever user; see `ibl_dask.store.holder.Evidence`.

    Parameters
    ----------
    number : str
        Its number, as the job itself knows it from its environment.
    """
    digits = re.match(r"\d+", number)
    if digits is None:
        return "unknown"
    if number.isdigit() and shutil.which("squeue"):
        told = _ask("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={number}")
        return "unknown" if told is None else read_squeue_answer(*told)
    if shutil.which("qstat"):
        told = _ask("qstat", number)
        return "unknown" if told is None else read_qstat_answer(digits.group(), *told)
    return "unknown"


def _ask(*command: str) -> tuple[int, str, str] | None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.returncode, done.stdout, done.stderr


def read_squeue_answer(code: int, out: str, err: str) -> JobState:
    """Return what `squeue` says of one job.

    >>> read_squeue_answer(0, "SUSPENDED", "")
    'suspended'
    >>> read_squeue_answer(1, "", "slurm_load_jobs error: Invalid job id specified")
    'ended'
    """
    if code != 0:
        return "ended" if "Invalid job id" in err else "unknown"
    words = out.split()
    if not words or words[0] in {*_ENDED_STATES.split(), *REQUEUED}:
        return "ended"
    return "suspended" if words[0] in _SUSPENDED else "running" if words[0] in _ALIVE else "unknown"


def read_qstat_answer(number: str, code: int, out: str, err: str) -> JobState:
    """Return what `qstat` says of one job.

    >>> read_qstat_answer("7", 153, "", "qstat: Unknown Job Id 7.head")
    'ended'
    """
    if code != 0:
        is_known = re.search(r"unknown job|has finished|invalid job id", err, re.IGNORECASE) is None
        return "unknown" if is_known else "ended"
    job = parse_qstat(out).get(number)
    if job is None or job.state in ("Q", "H", "W"):  # what was taken back into the queue does not run
        return "ended"
    return "suspended" if job.state in ("S", "U") else "running"


async def leave_out(job_id: str, nodes: str) -> None:
    """Keep a job of Slurm that still waits from nodes; one that has started meanwhile is not changed by that."""
    await call(["scontrol", "update", f"JobId={job_id}", f"ExcNodeList={nodes}"])


def parse_squeue(text: str) -> dict[str, Queued]:
    r"""Read `number|state|reason` lines.

    >>> parse_squeue("12|RUNNING|None\n13|PENDING|Resources\n")["13"]
    Queued(state='PENDING', reason='Resources')
    """
    jobs = {}
    for line in text.splitlines():
        number, _, rest = line.strip().partition("|")
        state, _, reason = rest.partition("|")
        if number.isdigit():
            jobs[number] = Queued(state, "" if reason in ("None", "(null)") else reason)
    return jobs


def parse_qstat(text: str) -> dict[str, Queued]:
    r"""Read the table of `qstat` or `qstat -u`, of PBS Pro, OpenPBS and Torque: a job a line.

    >>> table = "Job id  Name  User  Time Use S Queue\n------ ---- ---- -- - ---\n7.head  cpu-0  me  00:01 R batch\n"
    >>> parse_qstat(table)
    {'7': Queued(state='R', reason='')}
    """
    jobs = {}
    for line in text.splitlines():
        words = line.split()
        number = re.match(r"\d+", words[0]) if words else None
        # The state is the last word of one capital letter; names of jobs and users come before it.
        state = next((word for word in reversed(words[1:]) if re.fullmatch(r"[A-Z]", word)), None)
        if number and state and state not in _ENDED:
            jobs[number.group()] = Queued(state)
    return jobs


async def last_words(scheduler: Scheduler, job_id: str, folders: list[Path]) -> str:
    """Return what is known of a job that ended: what the batch system remembers, and the end of its log."""
    told = []
    if scheduler == "slurm":
        code, text, _ = await call(["scontrol", "show", "job", job_id])
        if code == 0:
            fields = dict(word.split("=", 1) for word in text.split() if "=" in word)
            shown = [f"{key} {fields[key]}" for key in ("JobState", "Reason", "ExitCode") if key in fields]
            told.append(", ".join(shown))
    tail = log_tail(job_id, folders)
    if tail:
        told.append(tail)
    return "; ".join(told) or "nothing: no log of it was found"


def log_tail(job_id: str, folders: list[Path]) -> str:
    """Return the end of the logs that a job left; empty where there are none."""
    told = []
    for folder in folders:
        for path in sorted(folder.glob(f"*{job_id}*")):
            if re.search(rf"(?<!\d){job_id}(?!\d)", path.name) and path.is_file():
                lines = _end_of(path).strip().splitlines()[-TAIL_LINES:]
                if lines:
                    told.append(f"the end of {path}:\n" + "\n".join(f"    {line}" for line in lines))
    return "\n".join(told)


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError as error:
        return str(error)


def what_it_said(error: Exception) -> str:
    """Return what a batch command said, from the error that dask-jobqueue makes of it.

    Some commands complain on their output: the `qsub` that comes with Slurm.
    """
    _, _, printed = str(error).partition("stdout:\n")
    out, found, err = printed.partition("stderr:\n")
    said = (err.strip() or out.strip()) if found else str(error)
    words = [line.strip() for line in said.splitlines() if line.strip()]
    return " ".join(words) or type(error).__name__
