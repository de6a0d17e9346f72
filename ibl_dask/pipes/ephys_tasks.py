"""Electrophysiology tasks, under the names of `ibllib.pipes.ephys_tasks`."""

from __future__ import annotations

from ibl_dask.pipes.absent import absent
from ibl_dask.pipes.field_classes import field_class

__all__ = [
    "EphysRegisterRaw",
    "EphysSyncRegisterRaw",
    "EphysCompressNP1",
    "EphysCompressNP21",
    "EphysCompressNP24",
    "EphysSyncPulses",
    "EphysPulses",
    "RawEphysQC",
    "SpikeSorting",
]

EphysRegisterRaw = field_class("EphysRegisterRaw", __name__)
EphysSyncRegisterRaw = field_class("EphysSyncRegisterRaw", __name__)
EphysCompressNP1 = field_class("EphysCompressNP1", __name__)
EphysCompressNP21 = field_class("EphysCompressNP21", __name__)
EphysCompressNP24 = field_class("EphysCompressNP24", __name__)
EphysSyncPulses = field_class("EphysSyncPulses", __name__)
EphysPulses = field_class("EphysPulses", __name__)
RawEphysQC = field_class("RawEphysQC", __name__)
SpikeSorting = field_class("SpikeSorting", __name__)
__getattr__ = absent(__name__, {"CellQCMixin": "import it from ibllib.pipes.ephys_tasks"})
