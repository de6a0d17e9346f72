"""Session that a file belongs to: by its path, or by the note in a scratch folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.errors import InputError
from ibl_dask.model.session import OWN_FOLDER, Session, is_session_path
from ibl_dask.store.json_files import read_object
from ibl_dask.store.leftovers import scratch_owner
from ibl_dask.store.workspace import Workspace, default_work_dir


@dataclass(frozen=True, slots=True)
class Place:
    """A file, and the session that it belongs to."""

    path: Path
    """File; of a file within a per-frame store, the store."""
    workspace: Workspace
    """The session."""
    name: str
    """Path relative to the results or to the scratch of the session."""
    is_scratch: bool = False
    """It lies in the scratch of the session."""


def locate(path: Path) -> Place | None:
    """Return the session of a file; None for a file that belongs to no session."""
    whole = Path(os.path.normpath(path.expanduser().absolute()))
    whole = next((each for each in reversed((whole, *whole.parents)) if each.suffix == ".zarr"), whole)
    for folder in whole.parents:
        owner = scratch_owner(folder)
        if owner is not None:
            workspace = workspace_of(*owner, folder.parents[1])
            name = whole.relative_to(folder).as_posix()
            return None if workspace is None else Place(whole, workspace, name, is_scratch=True)
        if is_session_path(folder):
            try:
                workspace = _workspace_of_results(folder)
            except (InputError, OSError):
                return None
            return Place(whole, workspace, whole.relative_to(folder).as_posix())
    return None


def _workspace_of_results(outputs: Path) -> Workspace:
    """Return the workspace of a folder of results, which may be a session or the mirror of one."""
    places = read_object(outputs / OWN_FOLDER / "provenance.json").get("places") or {}
    session, work_dir = places.get("session"), places.get("work_dir")
    if isinstance(session, str) and isinstance(work_dir, str) and places.get("outputs") == str(outputs):
        found = workspace_of(Path(session), outputs, Path(work_dir))
        if found is not None and found.session.path.is_dir():
            return found
    plain = Session(outputs)
    return Workspace(plain, default_work_dir(plain))


def workspace_of(path: Path, outputs: Path, work_dir: Path) -> Workspace | None:
    """Return the workspace of a session; None where its folders do not fit together.

    Parameters
    ----------
    path, outputs
        The session folder, and that of its results.
    work_dir
        Folder of its scratch.
    """
    try:
        n_parts = len(Session(path).relative.parts)
        session = Session(path, None if outputs == path else Path(*outputs.parts[:-n_parts]))
    except (InputError, OSError, TypeError):
        return None
    return Workspace(session, work_dir) if session.outputs == outputs else None
