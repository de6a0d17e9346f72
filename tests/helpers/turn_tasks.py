"""Tasks that note when they began and ended. In a module of their own, since workers import it by name."""

import time
from pathlib import Path

from simple_steps import Calling

import ibl_dask as ibd


def _note(upstream, folder, name, seconds, fails, until=""):
    (Path(folder) / f"{name}.begin").write_text(f"{time.time():.6f}")
    time.sleep(seconds)
    deadline = time.monotonic() + 120
    while until and not (Path(folder) / until).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if fails:
        raise OSError(f"{name} has no luck")
    (Path(folder) / f"{name}.end").write_text(f"{time.time():.6f}")
    return {}


def note_step(session, label, arguments, **more):
    """Return a step that notes when it began and ended."""
    return Calling(
        called="note", camera=label, session=session, parts="" + label, function=_note, arguments=arguments, **more
    )


class Noting(ibd.Task):
    """Notes its begin and its end in the folder `notes`, `seconds` apart; `how` says how it ends.

    In between it waits for the note `until`.
    """

    def __init__(self, session_path, label="x", seconds=0.0, how="Complete", until="", **kwargs):
        super().__init__(session_path, **kwargs)
        self.label, self.seconds, self.how, self.until = label, seconds, how, until

    def arguments(self):
        return {"label": self.label, "seconds": self.seconds, "how": self.how, "until": self.until}

    @property
    def folder(self):
        return self.session.path / "notes"

    def first_steps(self):
        if self.how == "Unplannable":
            raise ValueError(f"{self.label} cannot be planned")
        return []

    def steps(self, records):
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{self.label}.planned").write_text(f"{time.time():.6f}")
        if self.how == "Empty":
            return []
        arguments = {"folder": str(self.folder), "name": self.label, "seconds": self.seconds}
        arguments |= {"fails": self.how == "Errored", "until": self.until}
        return [note_step(self.session.reference, self.label, arguments)]


class Odd(Noting):
    """Cannot say what it promises."""

    @property
    def signature(self):
        raise AttributeError("what it promises is unknown")


class Hardy(Noting):
    """Copes without `Noting`."""

    optional_parents = frozenset({"Noting"})


class Ends(ibd.Task):
    """Ends as the field's tasks do: with outputs, without, with nothing to do, with a status, or with an error."""

    def __init__(self, session_path, how="outputs", **kwargs):
        super().__init__(session_path, **kwargs)
        self.how = how

    def arguments(self):
        return {"how": self.how}

    def _run(self, **kwargs):
        if self.how == "error":
            raise ValueError("no luck")
        if self.how in ("-1", "-2", "-3"):
            self.status = int(self.how)
        if self.how == "nothing":
            return None
        made = self.session_path / "ends.txt"
        made.write_text("x")
        return [] if self.how == "empty list" else [made]
