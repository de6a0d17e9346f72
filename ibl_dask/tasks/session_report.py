"""Report of a session: collected from results and provenance on disk, and rendered."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from ibl_dask.errors import IblDaskError, ReportFailed
from ibl_dask.model.description import Camera
from ibl_dask.model.failure import Failure
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.qc_record import CameraRecord, CheckRecord
from ibl_dask.model.result import CamerasJudged
from ibl_dask.model.session import Session
from ibl_dask.model.step import Step, Upstream
from ibl_dask.report.check_rows import check_failure, outcome_with_keypoints, split_namespace
from ibl_dask.report.content import CameraContent, SessionContent
from ibl_dask.report.pose_figure import FILE_NAMES
from ibl_dask.store import alf
from ibl_dask.store.atomic import write_text
from ibl_dask.store.compression_record import read_record
from ibl_dask.store.frames import FramesStore, read_frames
from ibl_dask.store.identity import looks_like
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.provenance import made_with, write_provenance
from ibl_dask.tasks.qc_file import read_qc
from ibl_dask.tasks.session_files import find_video
from ibl_dask.tasks.video_sync.pulse_times import load_times, load_timing
from ibl_dask.tasks.video_sync.wheel_times import WHEEL_CAMERAS


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteReport(Step):
    """Write provenance and report of a session, from the driver's record of the run and the results on disk."""

    kind: ClassVar[str] = "report"

    workspace: Workspace
    """The session."""
    ran: Mapping[str, object]
    """Summary of the run; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"ran": self.ran}

    def run(self, upstream: Upstream) -> CamerasJudged:
        known = write_provenance(self.workspace, self.ran, made_with())
        content = write_report(self.workspace, known, self.workspace.report_file)
        judged = (camera for camera in content.cameras if "outcome" in camera.qc)
        outcomes = {camera.label: outcome_with_keypoints(camera.qc, camera.pose.values()) for camera in judged}
        return CamerasJudged(cameras=outcomes, facts={"report": str(self.workspace.report_file)})


def write_report(workspace: Workspace, known: JsonObject, path: Path) -> SessionContent:
    """Render the report of a session to a file, and return its content.

    Parameters
    ----------
    workspace : Workspace
        Folders of the session.
    known : mapping
        Its provenance; empty if there is none.
    path : Path
        File to write.

    Raises
    ------
    ReportFailed
        If the page cannot be made; one that was there stays.
    """
    from ibl_dask.report.html import render_session

    try:
        content = gather(workspace, known)
        page = render_session(content)
    except (IblDaskError, OSError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise ReportFailed(
            "the report could not be made; the results that it tells of are on disk, and untouched",
            where=str(path),
            expected="a page on what is there",
            got=f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})",
            do="tell those who look after ibl_dask; once it is mended, ibl-dask report makes the page",
        ) from error
    write_text(path, page)
    return content


def gather(workspace: Workspace, known: JsonObject) -> SessionContent:
    """Return the content of a session's report, from results on disk and the provenance (`known`).

    Every camera of the description is shown, checked or not.
    """
    session = workspace.session
    qc = read_qc(workspace)
    cameras = {} if qc is None else qc["cameras"]
    pose = {} if qc is None else qc.get("pose", {})
    ran = known.get("ran") or {}
    return SessionContent(
        session.reference,
        str(session.path),
        str(session.outputs),
        "NOT_SET" if qc is None else qc["outcome"],
        tuple(
            replace(
                _camera(workspace, camera, cameras.get(camera.label, {}), ran),
                pose={name: part for name, part in pose.items() if split_namespace(name)[1] == camera.label},
            )
            for camera in _described(session)
        ),
        dict(ran),
        dict(known.get("made") or {}),
        tuple(known.get("runs") or ()),
        pose_figures=_pose_figures(session),
        pose_clips=_pose_clips(workspace),
    )


def _pose_figures(session: Session) -> dict[str, bytes]:
    """Return the figures of keypoints that the session has."""
    found: dict[str, bytes] = {}
    for name in FILE_NAMES.values():
        with contextlib.suppress(OSError):
            found[name] = (session.outputs / "snapshot" / name).read_bytes()
    return found


def _pose_clips(workspace: Workspace) -> dict[str, bytes]:
    """Return the clips with keypoints that the session has."""
    found: dict[str, bytes] = {}
    for tracker in FILE_NAMES:
        for camera in _described(workspace.session):
            path = workspace.pose_preview(camera.label, tracker)
            with contextlib.suppress(OSError):
                found[path.name] = path.read_bytes()
    return found


def _described(session: Session) -> list[Camera]:
    description = session.description
    return [description.camera(camera.label) for camera in description.cameras]


def _camera(workspace: Workspace, camera: Camera, record: CameraRecord, ran: JsonObject) -> CameraContent:
    """Return the content of a camera's part."""
    label = camera.label
    if record.get("failure"):
        # Its video could not be used: what an earlier run made of another one would only mislead.
        return CameraContent(label=label, qc=record)
    remarks: list[str] = []
    store = _store(workspace, label, remarks)
    path = _video_path(workspace, camera, remarks)
    known = (ran.get("videos") or {}).get(label) or {}
    video = _video(path, known, store, remarks)
    if store is not None and "identity" in video and dict(store.video) != dict(video["identity"]):
        remarks.append("the per-frame numbers on disk are of another video and not shown: run again")
        store = None
    timestamps = (record.get("checks") or {}).get("timestamps", {})
    had_no_times = timestamps.get("outcome") == "CRITICAL" and not timestamps.get("values")
    timed = {} if had_no_times else _timing(workspace, label, store, remarks)
    return CameraContent(
        label=label,
        qc=record,
        video=video,
        compression=_compression(workspace, label, video, path),
        no_times=None if timed else _no_times(timestamps),
        remarks=tuple(remarks),
        **timed,
        **({} if store is None else _measured(store, label)),
    )


def _no_times(timestamps: CheckRecord) -> Failure | None:
    """Return the error for which a camera has no times, from the check of its times."""
    message = str(timestamps.get("message") or "")
    return check_failure(timestamps) or (Failure("", "", message) if message else None)


def _store(workspace: Workspace, label: str, remarks: list[str]) -> FramesStore | None:
    try:
        return read_frames(workspace.frames_store(label))
    except (IblDaskError, OSError) as error:
        remarks.append(f"its per-frame numbers are not shown: {error}")
        return None


def _video_path(workspace: Workspace, camera: Camera, remarks: list[str]) -> Path | None:
    try:
        return find_video(workspace, camera)
    except (IblDaskError, OSError) as error:
        remarks.append(f"its video was not looked at: {error}")
        return None


def _video(path: Path | None, known: JsonObject, store: FramesStore | None, remarks: list[str]) -> JsonObject:
    """Return the facts of a video from the run that indexed it, else from the tables of the file.

    The latter also if the video was measured without a run since: the store is then of the file, and `known` is not.
    """
    identity = known.get("identity") or {}
    if known and path is None:
        remarks.append(f"the video that was measured is not there any more: {known.get('video')}")
    if known and (path is None or _is_of(path, identity)):
        return dict(known)
    if path is None:
        return {}
    facts = _container_facts(path)
    if store is not None and _is_of(path, store.video):
        return {**facts, "identity": dict(store.video)}
    if not known:
        return facts
    remarks.append(_format_change(path, known))
    return dict(known)


def _is_of(path: Path, identity: JsonObject) -> bool:
    """Return whether a file has the size and content that a video had when it was indexed.

    An identity of an earlier version lacks the content: then the time of writing counts.
    """
    stat = path.stat()
    if identity.get("size") != stat.st_size:
        return False
    if "sample" not in identity:
        return bool(identity.get("mtime_ns") == stat.st_mtime_ns)
    return bool(identity["sample"] == (alf.identity(path) or {})["content"])


def _format_change(path: Path, known: JsonObject) -> str:
    before, now = (known.get("identity") or {}).get("size"), path.stat().st_size
    if before == now:
        return f"{path.name} holds another video than the one that was measured: run again to measure it as it is"
    name = Path(str(known.get("video"))).name
    size = f"{before:,} bytes" if isinstance(before, int) else "another size"
    return f"what is shown was measured of {name} of {size}, and there is {path.name} of {now:,} bytes now: run again"


def _container_facts(path: Path) -> JsonObject:
    from ibl_dask.video.container.summary import read_container_summary

    try:
        summary = read_container_summary(path)
    except OSError:
        summary = None
    if summary is None:
        return {"video": str(path)}
    facts = {"frames": summary.n_frames, "width": summary.width, "height": summary.height}
    return {**facts, "keyframes": len(summary.keyframes), "video": str(path)}


def _compression(workspace: Workspace, label: str, video: JsonObject, path: Path | None) -> JsonObject:
    """Return the record of the compression, if it is of this video."""
    record = read_record(workspace, label)
    if record is None:
        return {}
    is_it = "identity" not in video or record.is_of(video["identity"])
    if not is_it and (path is None or not looks_like(path, record.result.file)):
        return {}
    return {**record.summary, "notes": list(record.notes)}


def _timing(workspace: Workspace, label: str, store: FramesStore | None, remarks: list[str]) -> dict[str, Any]:
    """Return times and their quality, if they belong to the video that was measured."""
    try:
        found, facts = load_timing(workspace.timing_file(label))
        times = load_times(workspace, label)
    except FileNotFoundError:
        return {}
    except (IblDaskError, OSError, ValueError, EOFError) as error:
        remarks.append(f"its times are not shown: {error}")
        return {}
    if times is None or (store is not None and "time" not in store.coordinates):
        return {}
    return {
        "timing": facts,
        "times_s": times,
        "time_quality": found["quality"],
        "residual_frames": found["residual_frames"],
        "residuals_s": found["residuals_s"],
    }


def _measured(store: FramesStore, label: str) -> dict[str, Any]:
    columns, coordinates = store.columns, store.coordinates
    prefix = "motion_energy_"
    unseen = () if label in WHEEL_CAMERAS else (f"{prefix}wheel",)
    out: dict[str, Any] = {
        "motion_energy": {
            n.removeprefix(prefix): c.values for n, c in columns.items() if n.startswith(prefix) and n not in unseen
        },
        "n_decode_errors": int(columns["decode_error"].values.sum()),
    }
    for field, name in (("brightness", "brightness"), ("sharpness", "sharpness"), ("thumbnails", "thumbnail")):
        if name in columns:
            out[field] = columns[name].values
    for field, name in (("sharpness_frames", "sharpness_frame"), ("thumbnail_frames", "thumbnail_frame")):
        if name in coordinates:
            out[field] = coordinates[name].values
    return out
