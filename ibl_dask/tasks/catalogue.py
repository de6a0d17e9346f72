"""The field's tasks: where their classes are and what they occupy, without importing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ibl_dask.model.step import Resources
from ibl_dask.model.task import FIELD_MEMORY_GB, TaskSpec


@dataclass(frozen=True, slots=True)
class FieldTask:
    """A class of the field's pipelines."""

    module: str
    """Dotted path of its module."""
    priority: int = 30
    """0 to 100, higher first."""
    cpu: int = 1
    """Cores."""
    gpu: int = 0
    """GPUs."""
    io_charge: int = 5
    """Share of a disk's speed that it takes, %."""
    job_size: str = "small"
    """`small` or `large`."""
    env: str | None = None
    """Environment that it needs, where it is not that of its package."""


_PIPES = "ibllib.pipes."
_BEHAVIOUR = FieldTask(_PIPES + "behavior_tasks", 90)
_REGISTER = FieldTask(_PIPES + "behavior_tasks", 100)
_COMPRESS_EPHYS = FieldTask(_PIPES + "ephys_tasks", 90, cpu=2, io_charge=100, job_size="large")
_READ_EPHYS = FieldTask(_PIPES + "ephys_tasks", 90, cpu=2, io_charge=30)
_READ_SYNC = FieldTask(_PIPES + "sync_tasks", 90, cpu=2, io_charge=30)
_SYNC_VIDEO = FieldTask(_PIPES + "video_tasks", 40)
_AFTER_POSE = FieldTask(_PIPES + "video_tasks", io_charge=90)
_PHOTOMETRY = FieldTask("iblphotometry.tasks", 90)

FIELD_TASKS: Mapping[str, FieldTask] = {
    "ExperimentDescriptionRegisterRaw": FieldTask(_PIPES + "base_tasks", 100),
    "SyncRegisterRaw": FieldTask(_PIPES + "sync_tasks", 100),
    "SyncMtscomp": _READ_SYNC,
    "SyncPulses": _READ_SYNC,
    "EphysSyncRegisterRaw": _READ_EPHYS,
    "EphysSyncPulses": _READ_EPHYS,
    "HabituationRegisterRaw": _REGISTER,
    "TrialRegisterRaw": _REGISTER,
    "PassiveRegisterRaw": _REGISTER,
    "HabituationTrialsBpod": _BEHAVIOUR,
    "HabituationTrialsNidq": _BEHAVIOUR,
    "HabituationTrialsTimeline": _BEHAVIOUR,
    "PassiveTaskNidq": _BEHAVIOUR,
    "PassiveTaskTimeline": _BEHAVIOUR,
    "ChoiceWorldTrialsBpod": _BEHAVIOUR,
    "ChoiceWorldTrialsNidq": _BEHAVIOUR,
    "ChoiceWorldTrialsTimeline": _BEHAVIOUR,
    "TrainingStatus": _BEHAVIOUR,
    "EphysRegisterRaw": FieldTask(_PIPES + "ephys_tasks", 100),
    "EphysCompressNP1": _COMPRESS_EPHYS,
    "EphysCompressNP21": _COMPRESS_EPHYS,
    "EphysCompressNP24": _COMPRESS_EPHYS,
    "EphysPulses": _READ_EPHYS,
    "RawEphysQC": FieldTask(_PIPES + "ephys_tasks", 10, cpu=2, io_charge=30),
    "SpikeSorting": FieldTask(_PIPES + "ephys_tasks", 60, 1, 1, 100, "large", "iblsorter"),
    "VideoRegisterRaw": FieldTask(_PIPES + "video_tasks", 100),
    "VideoCompress": FieldTask(_PIPES + "video_tasks", 90, io_charge=100, job_size="large"),
    "VideoConvert": FieldTask(_PIPES + "video_tasks", 90, io_charge=100),
    "VideoSyncQcCamlog": _SYNC_VIDEO,
    "VideoSyncQcBpod": _SYNC_VIDEO,
    "VideoSyncQcNidq": _SYNC_VIDEO,
    "DLC": FieldTask(_PIPES + "video_tasks", 30, 4, 1, 100, "large", "dlc"),
    "EphysPostDLC": _AFTER_POSE,
    "LightningPose": FieldTask(_PIPES + "video_tasks", 30, 1, 1, 100, "large", "litpose"),
    "PostLP": _AFTER_POSE,
    "AudioCompress": FieldTask(_PIPES + "audio_tasks", 10, cpu=2),
    "AudioSync": FieldTask(_PIPES + "audio_tasks", 10, cpu=2),
    "WidefieldRegisterRaw": FieldTask(_PIPES + "widefield_tasks", 100),
    "WidefieldCompress": FieldTask(_PIPES + "widefield_tasks", 90, job_size="large"),
    "WidefieldPreprocess": FieldTask(_PIPES + "widefield_tasks", 80, job_size="large"),
    "WidefieldSync": FieldTask(_PIPES + "widefield_tasks", 40),
    "WidefieldFOV": FieldTask(_PIPES + "widefield_tasks", 40),
    "FibrePhotometryPassiveChoiceWorld": _PHOTOMETRY,
    "FibrePhotometryBpodSync": _PHOTOMETRY,
    "FibrePhotometryDAQSync": _PHOTOMETRY,
}
"""Class -> what is known of it. `tests/peer/test_plans.py` compares it with the classes themselves."""


def field_task(
    name: str,
    cls: str,
    arguments: Mapping[str, Any],
    parents: Sequence[TaskSpec | str | None] = (),
) -> TaskSpec:
    """Return the spec of one of the field's tasks.

    Parameters
    ----------
    name : str
        Name of the task in the session.
    cls : str
        Name of its class; see `FIELD_TASKS`.
    arguments : mapping
        Arguments of the class; JSON.
    parents : sequence
        Tasks, or their names, that must be done before; None stands for one that the session does not have.
    """
    known = FIELD_TASKS[cls]
    return TaskSpec(
        name=name,
        executable=f"{known.module}.{cls}",
        arguments=dict(arguments),
        parents=tuple(parent if isinstance(parent, str) else parent.name for parent in parents if parent is not None),
        resources=Resources(known.cpu, known.gpu, FIELD_MEMORY_GB),
        priority=known.priority,
        io_charge=known.io_charge,
        env=known.env,
        job_size=known.job_size,
    )
