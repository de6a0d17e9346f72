"""Steps that only note what happened. In a module of its own, since workers import it by name."""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, StepKey
from ibl_dask.store.atomic import write_text
from ibl_dask.store.file_lock import changing_records


@dataclass(frozen=True, slots=True, kw_only=True)
class Calling(Step):
    """Calls a function with its upstream and some arguments; named as is convenient."""

    allow_failed = ("tolerated",)

    called: str
    function: Callable
    arguments: Mapping = field(default_factory=dict)
    parents: tuple[StepKey, ...] = ()
    tolerated: tuple[StepKey, ...] = ()
    parts: str = ""

    @property
    def kind(self):
        return self.called

    def identity(self):
        return {"parts": self.parts}

    def run(self, upstream):
        found = self.function(upstream, **self.arguments)
        return Result(facts=found) if isinstance(found, Mapping) else found


def note(upstream, folder, name, seconds=0.0):
    """Leave a file for a step, with what it was given."""
    time.sleep(seconds)
    # The age of the step, then what it read.
    text = f"{time.time():.6f}\n" + "\n".join(f"{key.name}:{record.status}" for key, record in upstream.items())
    Path(folder, name).write_text(text)
    return {"name": name}


def note_worker(upstream, folder, name, seconds=0.0):
    """Leave a file for a step, with the name of its worker, as its environment has it."""
    time.sleep(seconds)
    Path(folder, name).write_text(os.environ["WORKER_NAME"])
    return {"name": name}


def fail(upstream, folder, name):
    raise OSError("no luck")


def die_with_worker(upstream, folder, name, seconds=0.0):
    """Note the process, and be killed where that is a worker of Dask, and not a process of the step alone."""
    with Path(folder, f"{name}.pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    dask = sys.modules.get("distributed.worker")
    if dask is not None and dask.Worker._instances:
        os.kill(os.getpid(), 9)
    return note(upstream, folder, name)


def vanish_once(upstream, folder, name):
    """Lose the data the first time, as with a server that is gone."""
    gone = Path(folder, "gone")
    if gone.exists():
        Path(gone.read_text()).rmdir()
        gone.unlink()
        raise OSError("no such folder")
    return note(upstream, folder, name)


def hold(upstream, folder, name):
    """Go on until there is a file `free`, for two minutes at most."""
    ends_s = time.monotonic() + 120
    while not Path(folder, "free").exists() and time.monotonic() < ends_s:
        time.sleep(0.05)
    return note(upstream, folder, name)


def simple_step(folder, name, needs=(), chunk=0, function=note, tolerated=(), **more):
    """Return a step that needs others."""
    return Calling(
        called=name,
        session="s",
        function=function,
        arguments={"folder": str(folder), "name": name, **more},
        parents=tuple(step.key for step in needs if step not in tolerated),
        tolerated=tuple(step.key for step in tolerated),
        parts=str(folder),
        chunk=chunk,
    )


def note_process(path, seconds):
    """Leave the number of this process in a file, wait in C while no other thread runs, and return it."""
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)
    ctypes.PyDLL(None).sleep(seconds)
    return os.getpid()


def add_numbers(path, numbers):
    """Add numbers to a JSON list one by one, as records of a session are changed."""
    for number in numbers:
        with changing_records(path.parent):
            known = json.loads(path.read_text())
            write_text(path, json.dumps([*known, number]))
