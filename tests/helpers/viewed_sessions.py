"""Sessions that the viewer shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibl_dask.model.session import Session
from ibl_dask.store.workspace import Workspace, default_work_dir

if TYPE_CHECKING:
    from pathlib import Path


def workspace_of(folder: Path) -> Workspace:
    session = Session(folder)
    return Workspace(session, default_work_dir(session))
