"""Video preprocessing of International Brain Laboratory sessions as Dask graphs of keyframe-aligned chunks.

>>> import ibl_dask as ibd
>>> [name for name in ibd.__all__ if name[0].isupper()]  # doctest: +NORMALIZE_WHITESPACE
['AudioTask', 'BehaviourTask', 'Camera', 'DynamicTask', 'Environments', 'EphysTask', 'ExpectedDataset', 'Limits',
 'Outcome', 'Pipeline', 'RegisterRawDataTask', 'Run', 'Session', 'Status', 'Task', 'VideoCompress', 'VideoConvert',
 'VideoRegisterRaw', 'VideoSyncQcBpod', 'VideoSyncQcCamlog', 'VideoSyncQcNidq', 'VideoTask', 'WidefieldTask']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibl_dask.api import (
        AudioTask,
        BehaviourTask,
        Camera,
        DynamicTask,
        Environments,
        EphysTask,
        ExpectedDataset,
        Limits,
        Outcome,
        Pipeline,
        RegisterRawDataTask,
        Run,
        Session,
        Status,
        Task,
        VideoCompress,
        VideoConvert,
        VideoRegisterRaw,
        VideoSyncQcBpod,
        VideoSyncQcCamlog,
        VideoSyncQcNidq,
        VideoTask,
        WidefieldTask,
        assign_task,
        backup_session,
        check_transfer,
        connect,
        copy_session,
        forecast,
        get_new_filename,
        make_pipeline,
        move_ephys_files,
        move_session,
        purge_local_data,
        purge_rig_data,
        read_profile,
        rename_ephys_files,
        rename_session,
        run,
    )

__version__ = "0.1.0"

__all__ = [
    "AudioTask",
    "BehaviourTask",
    "Camera",
    "DynamicTask",
    "Environments",
    "EphysTask",
    "ExpectedDataset",
    "Limits",
    "Outcome",
    "Pipeline",
    "RegisterRawDataTask",
    "Run",
    "Session",
    "Status",
    "Task",
    "VideoCompress",
    "VideoConvert",
    "VideoRegisterRaw",
    "VideoSyncQcBpod",
    "VideoSyncQcCamlog",
    "VideoSyncQcNidq",
    "VideoTask",
    "WidefieldTask",
    "assign_task",
    "backup_session",
    "check_transfer",
    "connect",
    "copy_session",
    "forecast",
    "get_new_filename",
    "make_pipeline",
    "move_ephys_files",
    "move_session",
    "purge_local_data",
    "purge_rig_data",
    "read_profile",
    "rename_ephys_files",
    "rename_session",
    "run",
]


def __getattr__(name: str) -> Any:  # a class or a function
    """Load a public name on its first use, so that importing the package costs nothing."""
    if name in __all__:
        from ibl_dask import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
