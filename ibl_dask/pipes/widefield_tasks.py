"""Widefield tasks, under the names of `ibllib.pipes.widefield_tasks`."""

from __future__ import annotations

from ibl_dask.pipes.field_classes import field_class

__all__ = [
    "WidefieldRegisterRaw",
    "WidefieldCompress",
    "WidefieldPreprocess",
    "WidefieldSync",
    "WidefieldFOV",
]

WidefieldRegisterRaw = field_class("WidefieldRegisterRaw", __name__)
WidefieldCompress = field_class("WidefieldCompress", __name__)
WidefieldPreprocess = field_class("WidefieldPreprocess", __name__)
WidefieldSync = field_class("WidefieldSync", __name__)
WidefieldFOV = field_class("WidefieldFOV", __name__)
