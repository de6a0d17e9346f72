"""Bases of a lab's own tasks, under the names of `ibllib.pipes.base_tasks`."""

from ibl_dask.pipes.absent import absent
from ibl_dask.pipes.field_classes import field_class
from ibl_dask.tasks.dynamic_task import DynamicTask
from ibl_dask.tasks.lab_bases import AudioTask, BehaviourTask, EphysTask, RegisterRawDataTask, WidefieldTask
from ibl_dask.tasks.video_task import VideoTask

__all__ = [
    "AudioTask",
    "BehaviourTask",
    "DynamicTask",
    "EphysTask",
    "ExperimentDescriptionRegisterRaw",
    "RegisterRawDataTask",
    "VideoTask",
    "WidefieldTask",
]

ExperimentDescriptionRegisterRaw = field_class("ExperimentDescriptionRegisterRaw", __name__)
__getattr__ = absent(__name__, {"MesoscopeTask": "tasks of the mesoscope are in the package mpci"})
