"""Steps that only note what happened. In a module of its own, since workers import it by name."""

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


def simple_step(folder, name, needs=(), chunk=0, function=note, tolerates=(), **more):
    """Return a step that needs others."""
    arguments = {"folder": str(folder), "name": name, **more}
    keys = tuple(step.key for step in needs)
    return Step(name, "", "s", str(folder), function, arguments, keys, tolerates, chunk=chunk)
