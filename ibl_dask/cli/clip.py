"""`ibl-dask clip`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ibl_dask.cli.console import err, out, show_error
from ibl_dask.cli.guard import printable
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.clip.filter_graph import require_program
from ibl_dask.clip.schedule import Window
from ibl_dask.clip.view import CameraView
from ibl_dask.errors import IblDaskError, MissingFile, UnknownCamera, UsageError, joined
from ibl_dask.model.choices import advice
from ibl_dask.model.session import Session
from ibl_dask.pose.features import Tracker
from ibl_dask.qc.record import TRACKERS
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.session_clip import camera_view, clip_target

_TRACKERS: dict[str, Tracker] = {name: name for name in TRACKERS}


@dataclass(frozen=True, slots=True)
class ClipWishes:
    """Options of the command."""

    cameras: str | None
    """Labels, separated by commas, from left to right; all cameras by default."""
    pose: str | None
    """Tracker whose keypoints are drawn."""
    target: Path | None
    """File to write; beside the results by default."""
    height_px: int
    """Largest height of the pictures."""
    overwrite: bool
    """Replace a clip that exists."""


def write_session_clip(session: str, output_root: Path | None, window: Window, wishes: ClipWishes) -> int:
    """Write a clip of a session, and print its path; return 1 if a camera is left out, or frames do not decode.

    Parameters
    ----------
    session : str
        Argument of the command line; see `find_sessions`.
    output_root : Path or None
        Folder of the results, where they are not in the session.
    window : Window
        The event, and the time around it.
    wishes : ClipWishes
        Further options.
    """
    require_program()
    tracker = _tracker(wishes.pose)
    paths = find_sessions([session])
    if len(paths) != 1:
        raise UsageError("a clip is of one session", expected="one session", got=f"{len(paths)} sessions")
    found = Session(paths[0], output_root)
    found.look()
    workspace = Workspace(found, default_work_dir(found))
    labels = _labels(found, wishes.cameras)
    target = clip_target(workspace, wishes.target, window.event_s, overwrite=wishes.overwrite)
    views, code = _views(workspace, labels, tracker, is_chosen=wishes.cameras is not None)
    if tracker is not None:
        _note_keypoints(views, tracker, workspace)
    # Not at the top: the program answers a wrong call without FFmpeg.
    from ibl_dask.clip.writing import write_clip

    clip = write_clip(views, window, target, str(found.path), wishes.height_px)
    for label, n_lost in clip.lost.items():
        err.print(f"{label}: {n_lost:,} frames do not decode, and are black", markup=False)
    out.print(printable(clip.path), markup=False)
    return int(code or bool(clip.lost))


def _views(
    workspace: Workspace, labels: Sequence[str], tracker: Tracker | None, *, is_chosen: bool
) -> tuple[list[CameraView], int]:
    """Return the cameras that can be shown, and 1 if others were left out with a message.

    A camera that was asked for by name must be there.
    """
    views: list[CameraView] = []
    errors: list[IblDaskError] = []
    for label in labels:
        try:
            views.append(camera_view(workspace, workspace.session.description.camera(label), tracker))
        except IblDaskError as error:
            errors.append(error)
    if errors and (is_chosen or not views):
        raise joined(errors)
    for left_out in errors:
        show_error(left_out)
    return views, int(bool(errors))


def _labels(session: Session, asked: str | None) -> list[str]:
    known = [camera.label for camera in session.description.cameras]
    if not known:
        raise UnknownCamera(
            "this session has no camera",
            where=str(session.path),
            expected="cameras in the experiment description",
            got="none",
            do="look at the experiment description",
        )
    if asked is None:
        return known
    labels = list(dict.fromkeys(label.strip() for label in asked.split(",") if label.strip()))
    unknown = next((label for label in labels if label not in known), None)
    if unknown is not None or not labels:
        raise UnknownCamera(
            f"this session has no camera {unknown or asked!r}",
            where=str(session.path),
            expected="some of its cameras, separated by commas",
            got=", ".join(known),
            do=advice(unknown or asked, known),
        )
    return labels


def _tracker(asked: str | None) -> Tracker | None:
    if asked is None:
        return None
    if asked not in _TRACKERS:
        known = ", ".join(_TRACKERS)
        raise UsageError("--pose takes a tracker", expected=known, got=asked, do=advice(asked, _TRACKERS))
    return _TRACKERS[asked]


def _note_keypoints(views: Sequence[CameraView], tracker: Tracker, workspace: Workspace) -> None:
    """Name the cameras without keypoints.

    Raises
    ------
    MissingFile
        If no camera has any.
    """
    without = [view.label for view in views if view.keypoints is None]
    if len(without) == len(views):
        raise MissingFile(
            f"no camera has keypoints of {tracker}",
            where=str(workspace.session.outputs / "alf"),
            expected=f"a table _ibl_{without[0]}Camera.{tracker}.pqt",
            got="none",
            do="leave --pose out, or predict the keypoints first: docs/pose.md",
        )
    for label in without:
        err.print(f"{label}: no keypoints of {tracker}", markup=False)
