"""What people look at, and what was made from what."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ibl_dask.errors import CorruptOutput, IblDaskError
from ibl_dask.model.description import Camera
from ibl_dask.report.content import CameraContent, SessionContent
from ibl_dask.store import alf
from ibl_dask.store.atomic import write_text
from ibl_dask.store.frames import FramesStore, read_frames
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.steps.compress import is_told_of, read_record, told
from ibl_dask.tasks.steps.inputs import Facts, Records, camera_file_paths, find_video
from ibl_dask.tasks.steps.times import load_times, load_timing

PROVENANCE_VERSION = 1
_MADE_WITH = ("ibl_dask", "av", "numpy", "opencv-python-headless", "dask", "distributed", "zarr", "xarray")


def report(*, records: Records, workspace: Workspace, ran: Mapping[str, Any]) -> Facts:
    """Write provenance and report of a session from what is on disk and what the driver saw."""
    made = made_with()
    write_text(workspace.provenance_file, json.dumps(_provenance(workspace, ran, made), indent=1))
    write_report(workspace, ran, made, workspace.report_file)
    return {"report": str(workspace.report_file)}


def write_report(workspace: Workspace, ran: Mapping[str, Any], made: Mapping[str, Any], path: Path) -> None:
    """Render the report of a session to a file."""
    from ibl_dask.report.html import render_session

    write_text(path, render_session(gather(workspace, ran, made)))


def made_with() -> dict[str, str]:
    """Return the versions of what computes, and the time."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"time": now, **{name: version(name) for name in _MADE_WITH}}


def read_provenance(workspace: Workspace) -> dict[str, Any]:
    """Return what a finished session says of its making; empty where it says nothing."""
    try:
        content = json.loads(workspace.provenance_file.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_qc(workspace: Workspace) -> dict[str, Any] | None:
    """Return the checks of a session; None where it was not checked yet.

    Raises
    ------
    CorruptOutput
        If the record is damaged.
    """
    try:
        content = json.loads(workspace.qc_file.read_text())
        if not isinstance(content["cameras"], dict):
            raise TypeError("no cameras")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise CorruptOutput(
            "this record of checks is damaged",
            where=str(workspace.qc_file),
            expected="JSON with the checks of each camera",
            got=f"{type(error).__name__}: {error}",
            do=f"run again, it is made anew: ibl-dask run {workspace.session.path}",
        ) from error
    return dict(content)


def gather(workspace: Workspace, ran: Mapping[str, Any], made: Mapping[str, Any]) -> SessionContent:
    """Collect everything that a session's report shows."""
    session = workspace.session
    qc = read_qc(workspace) or {"outcome": "NOT_SET", "cameras": {}}
    cameras = tuple(
        _camera(workspace, session.description.camera(label), record, ran) for label, record in qc["cameras"].items()
    )
    return SessionContent(
        session.reference, str(session.path), str(session.outputs), qc["outcome"], cameras, dict(ran), dict(made)
    )


def _camera(workspace: Workspace, camera: Camera, record: Mapping[str, Any], ran: Mapping[str, Any]) -> CameraContent:
    label = camera.label
    if "videos" in ran and label not in ran["videos"]:
        # What an earlier run made of another video would only mislead.
        return CameraContent(label=label, qc=record)
    try:
        store = read_frames(workspace.frames_store(label))
    except IblDaskError:
        store = None
    timed = _timing(workspace, label, store)
    video = dict(ran.get("videos", {}).get(label, {}))
    failure = record["checks"].get("timestamps", {})
    return CameraContent(
        label=label,
        qc=record,
        video=video,
        compression=_compression(workspace, label, video),
        no_times="" if timed else failure.get("message", ""),
        **timed,
        **({} if store is None else _measured(store)),
    )


def _compression(workspace: Workspace, label: str, video: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the video was compressed, if it is the one that the record tells of."""
    record = read_record(workspace, label)
    if record is None or ("identity" in video and not is_told_of(record, video["identity"])):
        return {}
    return dict(told(record))


def _timing(workspace: Workspace, label: str, store: FramesStore | None) -> dict[str, Any]:
    """Return times and how they were obtained, if they belong to the video that was measured."""
    try:
        found, facts = load_timing(workspace.timing_file(label))
    except (FileNotFoundError, IblDaskError):
        return {}
    times = load_times(workspace, label)
    if times is None or (store is not None and "time" not in store.coordinates):
        return {}
    return {
        "timing": facts,
        "times_s": times,
        "time_quality": found["quality"],
        "residual_frames": found["residual_frames"],
        "residuals_s": found["residuals_s"],
    }


def _measured(store: FramesStore) -> dict[str, Any]:
    columns, coordinates = store.columns, store.coordinates
    prefix = "motion_energy_"
    out: dict[str, Any] = {
        "motion_energy": {n.removeprefix(prefix): c.values for n, c in columns.items() if n.startswith(prefix)},
        "n_decode_errors": int(columns["decode_error"].values.sum()),
    }
    for field, name in (("brightness", "brightness"), ("sharpness", "sharpness"), ("thumbnails", "thumbnail")):
        if name in columns:
            out[field] = columns[name].values
    for field, name in (("sharpness_frames", "sharpness_frame"), ("thumbnail_frames", "thumbnail_frame")):
        if name in coordinates:
            out[field] = coordinates[name].values
    return out


def _provenance(workspace: Workspace, ran: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    session = workspace.session
    inputs: dict[str, Any] = {}
    for camera in session.description.cameras:
        paths = [find_video(workspace, camera), *camera_file_paths(workspace, camera).values()]
        inputs[camera.label] = [alf.identity(path) for path in paths if path is not None]
    steps = {}
    for path in sorted(workspace.marker("x").parent.glob("*.json")):
        with contextlib.suppress(ValueError):  # a damaged one counts for nothing
            steps[path.stem] = json.loads(path.read_text())
    return {
        "version": PROVENANCE_VERSION,
        "session": session.reference,
        "made": dict(made),
        "inputs": inputs,
        "steps": steps,
        "ran": dict(ran),
    }
