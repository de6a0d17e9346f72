"""Audio tasks, under the names of `ibllib.pipes.audio_tasks`."""

from __future__ import annotations

from ibl_dask.pipes.field_classes import field_class

__all__ = [
    "AudioCompress",
    "AudioSync",
]

AudioCompress = field_class("AudioCompress", __name__)
AudioSync = field_class("AudioSync", __name__)
