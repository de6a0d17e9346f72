"""Seven little tasks, one for each way in which a task can end, as a lab would write them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

import ibl_dask as ibd
from ibl_dask.qc.record import session_record
from ibl_dask.store.atomic import write_text
from ibl_dask.tasks.qc_file import read_qc

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


class TaskOddFiles(_Little):
    """Leaves a file beside others whose name stands for several."""

    def _run(self, **_: object) -> list[Path]:
        (usual,) = self.left()
        odd = usual.with_name("wheel[1].position.npy")
        np.save(odd, np.arange(3.0))
        return [usual, odd]


class VideoSyncQcNumbered(_Little):
    """Leaves a file and a key of the session's checks, both of which its argument numbers."""

    def _run(self, **_: object) -> list[Path]:
        n = self.kwargs["n"]
        record = read_qc(self.workspace) or session_record(self.session.reference, {}, {})
        record["extended_qc"][f"_video_{n}"] = n
        write_text(self.workspace.qc_file, json.dumps(record))
        path = self.session_path / "alf" / f"task_{n:02}" / "wheel.position.npy"
        path.parent.mkdir(exist_ok=True, parents=True)
        np.save(path, np.arange(3.0))
        return [path]


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
