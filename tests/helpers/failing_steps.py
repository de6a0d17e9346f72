"""Steps and tasks that fail in a given way, some number of times. In a module of its own: workers import it by name."""

import ctypes
import time
from pathlib import Path

import ibl_dask as ibd
from ibl_dask import errors
from ibl_dask.store.atomic import write_text


def fail_first(upstream, folder, name, times, kind):
    """Fail a number of times with an error, then leave a file."""
    with Path(folder, f"{name}.tries").open("a") as file:
        file.write("x")
    if len(Path(folder, f"{name}.tries").read_text()) <= times:
        raise getattr(errors, kind)("no luck", where=str(folder))
    Path(folder, name).write_text("done")
    return {}


def write_much(upstream, folder, name, n_bytes=2_000_000):
    """Write a file, and note the try elsewhere."""
    with Path(folder).with_name(f"{name}.tries").open("a") as file:
        file.write("x")
    write_text(Path(folder, name), "x" * n_bytes)
    return {}


def hang_in_c(upstream, folder, name, hangs=99):
    """Hang in a function of C that keeps the lock of the interpreter, a number of times."""
    tries = Path(folder, f"{name}.tries")
    with tries.open("a") as file:
        file.write("x")
    if len(tries.read_text()) <= hangs:
        ctypes.PyDLL(None).sleep(600)
    return {}


class Counted(ibd.Task):
    """Notes each try in the session, and fails as its file `how.txt` tells."""

    def __init__(self, session_path, kind="bug", **kwargs):
        super().__init__(session_path, **kwargs)
        self.kind = kind

    def arguments(self):
        return {"kind": self.kind}

    def _run(self, **kwargs):
        tries = self.session_path / "ibl_dask" / f"tries-{self.kind}"
        tries.parent.mkdir(exist_ok=True)
        with tries.open("a") as file:
            file.write("x")
        if (self.session_path / "raw_video_data" / "healthy.txt").exists():
            return []
        if self.kind == "bug":
            raise ZeroDivisionError("of theirs")
        raise getattr(errors, self.kind)("no luck", where=str(self.session_path))


class Charged(ibd.Task):
    """Notes when it runs; takes half of a disk and more."""

    io_charge = 60

    def __init__(self, session_path, label="a", **kwargs):
        super().__init__(session_path, **kwargs)
        self.label = label

    def arguments(self):
        return {"label": self.label}

    def _run(self, **kwargs):
        started_s = time.time()
        time.sleep(0.4)
        folder = self.session_path / "raw_video_data"
        (folder / f"span-{self.label}").write_text(f"{started_s} {time.time()}")
        return []
