"""Little tasks of a lab that look at what they are told, and leave what a test asks for."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

import ibl_dask as ibd


class TaskOfNumber(ibd.DynamicTask):
    """One of many: its file is that of its argument `n`; it lasts `pause_s`."""

    def _run(self, **_: object) -> list[Path]:
        time.sleep(self.kwargs.get("pause_s", 0.0))
        path = self.session_path / "alf" / f"task_{self.kwargs['n']:02}" / "wheel.position.npy"
        path.parent.mkdir(exist_ok=True, parents=True)
        np.save(path, np.arange(3.0))
        return [path]


class TaskTells(ibd.DynamicTask):
    """Prints its caller, as far as the caller told of itself."""

    def _run(self, **_: object) -> list[Path]:
        sys.stdout.write(
            f"one {type(self.one).__name__}, taskid {self.taskid}, machine {self.machine}, location {self.location}, "
            f"scratch {self.workspace.work_dir}, output {self.session.output_root}\n"
        )
        return []


class TaskUnknown(ibd.DynamicTask):
    """Leaves a file of a type that Alyx does not have."""

    def _run(self, **_: object) -> list[Path]:
        path = self.session_path / "alf" / "no.suchtype.npy"
        path.parent.mkdir(exist_ok=True, parents=True)
        np.save(path, np.arange(3.0))
        return [path]


class SnapshotsRegisterRaw(ibd.RegisterRawDataTask):
    """Lists the photographs of a session, as a lab's tasks do."""

    device_collection = "raw_imaging_data_*"

    def _run(self, **_: object) -> list[Path]:
        self.register_snapshots()
        self.register_snapshots(collection="")
        return []
