"""Steps that only note what happened. In a module of its own, since workers import it by name."""

import os
import time
from pathlib import Path

from ibl_dask.model.step import Step


def note(records, folder, name, seconds=0.0):
    """Leave a file for a step, with what it was given."""
    time.sleep(seconds)
    # The age of the step, then what it read.
    text = f"{time.time():.6f}\n" + "\n".join(f"{key[0]}:{record.status}" for key, record in records.items())
    Path(folder, name).write_text(text)
    return {"name": name}


def fail(records, folder, name):
    raise OSError("no luck")


def slow_once(records, folder, name, seconds=0.0):
    """Be killed the first time, and note the process."""
    with Path(folder, f"{name}.pids").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if len(Path(folder, f"{name}.pids").read_text().split()) == 1:
        os.kill(os.getpid(), 9)
    return note(records, folder, name)


def vanish_once(records, folder, name):
    """Lose the data the first time, as with a server that is gone."""
    gone = Path(folder, "gone")
    if gone.exists():
        Path(gone.read_text()).rmdir()
        gone.unlink()
        raise OSError("no such folder")
    return note(records, folder, name)


def simple_step(folder, name, needs=(), chunk=0, function=note, tolerates=(), **more):
    """Return a step that needs others."""
    arguments = {"folder": str(folder), "name": name, **more}
    keys = tuple(step.key for step in needs)
    return Step(name, "", "s", str(folder), function, arguments, keys, tolerates, chunk=chunk)
