"""Seven little tasks, one for each way in which a task can end, as a lab would write them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import ibl_dask as ibd

MENDED = "mended.flag"
"""File of the session whose presence lets the task that fails succeed."""


class _Little(ibd.DynamicTask):
    def left(self) -> list[Path]:
        path = self.session_path / "alf" / self.name / "wheel.position.npy"
        path.parent.mkdir(exist_ok=True, parents=True)
        np.save(path, np.arange(3.0))
        return [path]


class TaskDone(_Little):
    def _run(self, **_: object) -> list[Path]:
        return self.left()


class TaskEmpty(_Little):
    def _run(self, **_: object) -> None:
        return None


class TaskFails(_Little):
    def _run(self, **_: object) -> list[Path]:
        if not (self.session_path / MENDED).exists():
            raise ValueError("something dumb happened")
        return self.left()


class TaskIncomplete(_Little):
    def _run(self, **_: object) -> list[Path]:
        self.status = -3
        return self.left()


class TaskLocked(_Little):
    def _run(self, **_: object) -> None:
        self.status = -2


class ChildOfDone(_Little):
    def _run(self, **_: object) -> list[Path]:
        return self.left()


class ChildOfFailed(_Little):
    def _run(self, **_: object) -> list[Path]:
        return self.left()


class TaskHangs(_Little):
    """Lasts until its process ends; a flag in its session shows that it has begun."""

    def _run(self, **_: object) -> None:
        (self.session_path / "begun.flag").touch()
        time.sleep(600)


SEVEN: dict[str, tuple[str, ...]] = {
    "TaskDone": (),
    "TaskEmpty": (),
    "TaskFails": (),
    "TaskIncomplete": (),
    "TaskLocked": (),
    "ChildOfDone": ("TaskDone", "TaskIncomplete"),
    "ChildOfFailed": ("TaskDone", "TaskFails"),
}
"""Task -> parents."""
