"""Catalogue of the field's tasks: one row per class, read without importing any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ibl_dask.model.step import Resources
from ibl_dask.model.task import FIELD_MEMORY_GB, TaskSpec


@dataclass(frozen=True, slots=True)
class FieldTask:
    """A class of the field's pipelines."""

    name: str
    """Name of the class."""
    module: str
    """Dotted path of its module."""
    priority: int = 30
    """0 to 100, higher first."""
    cpu: int = 1
    """Cores."""
    gpu: int = 0
    """GPUs."""
    io_charge: int = 5
    """Share of a disk's bandwidth, %."""
    job_size: str = "small"
    """`small` or `large`: queue of the field's servers."""
    env: str | None = None
    """Label of the environment that it needs; None for that of its package, see `environment_of`."""
    native: str | None = None
    """Dotted path of the class of this package that does its work; None if it runs in another environment."""
    with_networks: str | None = None
    """Dotted path of the class of this package that does its work where the site declares networks for it; None if it
    needs none."""
    imports: tuple[str, ...] = ()
    """Packages that it imports beyond the requirements of its own: its environment is searched for them."""
    needs_alyx: bool = False
    """It works on Alyx, or reads something from it at its start, and waits without it."""
    uses_alyx: bool = False
    """It writes to Alyx where there is one, and does the rest of its work without."""
    unwritten_in: tuple[str, ...] = ()
    """Versions of its package in which its work is not written yet: it ends well and leaves nothing."""

    @property
    def executable(self) -> str:
        """Return the dotted path of the class."""
        return f"{self.module}.{self.name}"


_AUDIO = "ibllib.pipes.audio_tasks"
_BASE = "ibllib.pipes.base_tasks"
_BEHAVIOUR = "ibllib.pipes.behavior_tasks"
_EPHYS = "ibllib.pipes.ephys_tasks"
_PHOTOMETRY = "iblphotometry.tasks"
_SYNC = "ibllib.pipes.sync_tasks"
_VIDEO = "ibllib.pipes.video_tasks"
_WIDEFIELD = "ibllib.pipes.widefield_tasks"
_OURS = "ibl_dask.tasks."

_ROWS = (
    FieldTask("ExperimentDescriptionRegisterRaw", _BASE, 100, needs_alyx=True),
    FieldTask("SyncRegisterRaw", _SYNC, 100),
    FieldTask("SyncMtscomp", _SYNC, 90, cpu=2, io_charge=30),
    FieldTask("SyncPulses", _SYNC, 90, cpu=2, io_charge=30),
    FieldTask("EphysSyncRegisterRaw", _EPHYS, 90, cpu=2, io_charge=30),
    FieldTask("EphysSyncPulses", _EPHYS, 90, cpu=2, io_charge=30),
    FieldTask("HabituationRegisterRaw", _BEHAVIOUR, 100),
    FieldTask("TrialRegisterRaw", _BEHAVIOUR, 100),
    FieldTask("PassiveRegisterRaw", _BEHAVIOUR, 100),
    FieldTask("HabituationTrialsBpod", _BEHAVIOUR, 90, uses_alyx=True),
    FieldTask("HabituationTrialsNidq", _BEHAVIOUR, 90, uses_alyx=True),
    FieldTask("HabituationTrialsTimeline", _BEHAVIOUR, 90, uses_alyx=True),
    FieldTask("PassiveTaskNidq", _BEHAVIOUR, 90),
    FieldTask("PassiveTaskTimeline", _BEHAVIOUR, 90),
    FieldTask("ChoiceWorldTrialsBpod", _BEHAVIOUR, 90, uses_alyx=True),
    FieldTask("ChoiceWorldTrialsNidq", _BEHAVIOUR, 90, uses_alyx=True),
    FieldTask("ChoiceWorldTrialsTimeline", _BEHAVIOUR, 90, uses_alyx=True),
    FieldTask("TrainingStatus", _BEHAVIOUR, 90, needs_alyx=True),
    FieldTask("EphysRegisterRaw", _EPHYS, 100, needs_alyx=True),
    FieldTask("EphysCompressNP1", _EPHYS, 90, cpu=2, io_charge=100, job_size="large"),
    FieldTask("EphysCompressNP21", _EPHYS, 90, cpu=2, io_charge=100, job_size="large"),
    FieldTask("EphysCompressNP24", _EPHYS, 90, cpu=2, io_charge=100, job_size="large"),
    FieldTask("EphysPulses", _EPHYS, 90, cpu=2, io_charge=30),
    FieldTask("RawEphysQC", _EPHYS, 10, cpu=2, io_charge=30, needs_alyx=True),
    FieldTask("SpikeSorting", _EPHYS, 60, gpu=1, io_charge=100, job_size="large", env="iblsorter", uses_alyx=True),
    FieldTask("VideoRegisterRaw", _VIDEO, 100, native=_OURS + "video_register.task.VideoRegisterRaw"),
    FieldTask(
        "VideoCompress",
        _VIDEO,
        90,
        io_charge=100,
        job_size="large",
        native=_OURS + "video_mp4.compress_task.VideoCompress",
    ),
    FieldTask("VideoConvert", _VIDEO, 90, io_charge=100, native=_OURS + "video_mp4.convert_task.VideoConvert"),
    FieldTask("VideoSyncQcCamlog", _VIDEO, 40, native=_OURS + "video_sync.clocks.VideoSyncQcCamlog"),
    FieldTask("VideoSyncQcBpod", _VIDEO, 40, native=_OURS + "video_sync.clocks.VideoSyncQcBpod"),
    FieldTask("VideoSyncQcNidq", _VIDEO, 40, native=_OURS + "video_sync.clocks.VideoSyncQcNidq"),
    FieldTask(
        "DLC",
        _VIDEO,
        cpu=4,
        gpu=1,
        io_charge=100,
        job_size="large",
        env="dlc",
        with_networks=_OURS + "pose.task.DLC",
        needs_alyx=True,
    ),
    FieldTask("EphysPostDLC", _VIDEO, io_charge=90, native=_OURS + "pose.post_task.EphysPostDLC"),
    FieldTask(
        "LightningPose",
        _VIDEO,
        gpu=1,
        io_charge=100,
        job_size="large",
        env="litpose",
        with_networks=_OURS + "pose.task.LightningPose",
    ),
    FieldTask("PostLP", _VIDEO, io_charge=90, native=_OURS + "pose.post_task.PostLP"),
    FieldTask("LightningAction", _VIDEO, io_charge=100, env="litaction"),
    FieldTask("AudioCompress", _AUDIO, 10, cpu=2),
    FieldTask("AudioSync", _AUDIO, 10, cpu=2),
    FieldTask("WidefieldRegisterRaw", _WIDEFIELD, 100, uses_alyx=True),
    FieldTask("WidefieldCompress", _WIDEFIELD, 90, job_size="large", imports=("labcams",)),
    FieldTask("WidefieldPreprocess", _WIDEFIELD, 80, job_size="large", imports=("wfield",), uses_alyx=True),
    FieldTask("WidefieldSync", _WIDEFIELD, 40, imports=("labcams",)),
    FieldTask("WidefieldFOV", _WIDEFIELD, 40, unwritten_in=("4.1.0",)),
    FieldTask("FibrePhotometryPassiveChoiceWorld", _PHOTOMETRY, 90),
    FieldTask("FibrePhotometryBpodSync", _PHOTOMETRY, 90),
    FieldTask("FibrePhotometryDAQSync", _PHOTOMETRY, 90),
)

FIELD_TASKS: Mapping[str, FieldTask] = MappingProxyType({row.name: row for row in _ROWS})
"""Name of a class -> its row. `tests/peer/test_plans.py` compares resources with the classes themselves."""

FIELD = "ibllib"
"""Label of the environment that holds the field's own pipelines."""
FIELD_PACKAGES: Mapping[str, str] = {
    "ibllib": FIELD,
    "iblphotometry": FIELD,
    "iblvideo": FIELD,
    "iblsorter": FIELD,
    "mpci": "mpci",
    "mpci.chronic.roicat": "roicat",
}
"""Package, or a part of one -> label of the environment of its tasks. None is imported in this process: that would take
half a minute, if it is installed here at all."""

_BY_PATH = {row.executable: row for row in _ROWS}


def find_row(executable: str) -> FieldTask | None:
    """Return the row of a class by its dotted path; None for a class that the catalogue does not hold."""
    return _BY_PATH.get(executable)


def native_rows() -> tuple[FieldTask, ...]:
    """Return the rows of classes whose work is done by classes of this package."""
    return tuple(row for row in _ROWS if row.native is not None)


def environment_of(executable: str) -> str:
    """Return the label of the environment of a class: its own, that of its package, or that of the field.

    >>> environment_of("ibllib.pipes.video_tasks.DLC"), environment_of("mpci.tasks.MesoscopePreprocess")
    ('dlc', 'mpci')
    """
    row = find_row(executable)
    if row is not None and row.env is not None:
        return row.env
    fitting = [package for package in FIELD_PACKAGES if f"{executable}.".startswith(f"{package}.")]
    return FIELD_PACKAGES[max(fitting, key=len)] if fitting else FIELD


def is_of_field(module: str) -> bool:
    """Return whether a module belongs to a package whose tasks run in another environment."""
    return module.partition(".")[0] in FIELD_PACKAGES


def field_task(
    name: str,
    cls: str,
    arguments: Mapping[str, object],
    parents: Sequence[TaskSpec | str | None] = (),
) -> TaskSpec:
    """Return the spec of one of the field's tasks.

    Parameters
    ----------
    name : str
        Name of the task in the session.
    cls : str
        Name of its class, a key of `FIELD_TASKS`.
    arguments : mapping
        Keyword arguments of the class; JSON.
    parents : sequence of TaskSpec, str or None
        Tasks, or their names, that must be done before; None stands for a task that the session does not have.
    """
    row = FIELD_TASKS[cls]
    return TaskSpec(
        name=name,
        executable=row.executable,
        arguments=dict(arguments),
        parents=tuple(parent if isinstance(parent, str) else parent.name for parent in parents if parent is not None),
        resources=Resources(row.cpu, row.gpu, FIELD_MEMORY_GB),
        priority=row.priority,
        io_charge=row.io_charge,
        env=row.env,
        job_size=row.job_size,
    )
