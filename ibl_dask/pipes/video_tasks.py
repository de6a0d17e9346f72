"""Video tasks, under the names of `ibllib.pipes.video_tasks`."""

from __future__ import annotations

from ibl_dask.pipes.absent import absent
from ibl_dask.pipes.field_classes import field_class

__all__ = [
    "VideoRegisterRaw",
    "VideoCompress",
    "VideoConvert",
    "VideoSyncQcCamlog",
    "VideoSyncQcBpod",
    "VideoSyncQcNidq",
    "DLC",
    "EphysPostDLC",
    "LightningPose",
    "PostLP",
    "LightningAction",
]

VideoRegisterRaw = field_class("VideoRegisterRaw", __name__)
VideoCompress = field_class("VideoCompress", __name__)
VideoConvert = field_class("VideoConvert", __name__)
VideoSyncQcCamlog = field_class("VideoSyncQcCamlog", __name__)
VideoSyncQcBpod = field_class("VideoSyncQcBpod", __name__)
VideoSyncQcNidq = field_class("VideoSyncQcNidq", __name__)
DLC = field_class("DLC", __name__)
EphysPostDLC = field_class("EphysPostDLC", __name__)
LightningPose = field_class("LightningPose", __name__)
PostLP = field_class("PostLP", __name__)
LightningAction = field_class("LightningAction", __name__)
__getattr__ = absent(__name__, {"PostLightningAction": "import it from ibllib.pipes.video_tasks"})
