"""Tasks on the main clock, under the names of `ibllib.pipes.sync_tasks`."""

from __future__ import annotations

from ibl_dask.pipes.field_classes import field_class

__all__ = [
    "SyncRegisterRaw",
    "SyncMtscomp",
    "SyncPulses",
]

SyncRegisterRaw = field_class("SyncRegisterRaw", __name__)
SyncMtscomp = field_class("SyncMtscomp", __name__)
SyncPulses = field_class("SyncPulses", __name__)
