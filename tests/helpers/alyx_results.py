"""Results of tasks for tests of the spool and its writer."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from fake_alyx import World

from ibl_dask.alyx.task_result import Output, TaskResult

REPOSITORY = "cortexlab_local"
LABELS = ("left", "right", "body")


def add_tasks(world: World, subject: str, n: int, number: int = 1) -> tuple[str, list[str]]:
    """Add a session with a number of started tasks; return its id and theirs."""
    session = world.add_session(subject, number=number)
    return session, [world.add_task(session, f"Task{i}", status="Started") for i in range(n)]


def result(subject: str, session_id: str, task_id: str, number: int = 1, n: int = 0, **fields: object) -> TaskResult:
    """Return a complete result with one output and one key of QC, both of which `n` identifies."""
    label = LABELS[n % 3]
    given = {
        "log": f"log of task {n}",
        "version": "0.1.0",
        "seconds": 1.5,
        "outputs": (output(f"alf/task_{n:02}/_ibl_{label}Camera.times.npy"),),
        "qc": {f"_video_{n}": ["PASS", n]},
        "outcome": "PASS",
        "made_s": time.time(),
        **fields,
    }
    session = f"{subject}/2026-11-20/{number:03}"
    status = given.pop("status", "Complete")
    return TaskResult(session, f"Task{n}", status, task_id=task_id, session_id=session_id, **given)


def output(path: str, content: str = "") -> Output:
    """Return an output whose hash follows from its path and a text."""
    return Output(path, 100, hashlib.md5((path + content).encode()).hexdigest())


def output_of(folder: Path, path: str) -> Output:
    """Return the output of a file that is there."""
    content = (folder / path).read_bytes()
    return Output(path, len(content), hashlib.md5(content).hexdigest())
