"""Judge the cameras of a session."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import CorruptOutput, InputError
from ibl_dask.model.description import Camera, ExperimentDescription
from ibl_dask.model.frame_ranges import find_ranges
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.region import Region
from ibl_dask.qc.evidence import CameraEvidence, FaceEvidence, WheelEvidence
from ibl_dask.qc.record import camera_record, failed_camera_record, session_record
from ibl_dask.store.atomic import write_text
from ibl_dask.store.frames import FramesStore, read_frames
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.session_files import Facts, Records, has_camlog_only, read_camera
from ibl_dask.tasks.session_report import read_qc
from ibl_dask.tasks.video_sync.pulse_times import load_times, load_timing
from ibl_dask.timing.camera.camera_files import CameraFiles
from ibl_dask.video.container.index import FrameIndex


def check_camera(
    *, records: Records, workspace: Workspace, camera: Camera, reference_frames: Path | None = None
) -> Facts:
    """Judge one camera and keep the outcome for the session's record."""
    from ibl_dask.qc.checks import run_checks  # OpenCV: a plan imports this module too

    indexed = next(r for r in records.values() if r.key[0].startswith("index-"))
    if indexed.is_ok:
        evidence = _evidence(records, workspace, camera, reference_frames)
        without = not_asked(workspace.session.description, has_camlog_only(workspace, camera))
        results = run_checks(evidence, without=without)
        record = camera_record(results)
    else:
        record = failed_camera_record(indexed.failure or "its video cannot be indexed")
    write_text(workspace.qc_part(camera.label), json.dumps(record))
    outcomes = {name: content["outcome"] for name, content in record["checks"].items()}
    return {"outcome": record["outcome"], "checks": outcomes}


def not_asked(description: ExperimentDescription, is_logged: bool) -> frozenset[str]:
    """Return the checks that make no sense for a session, the same as the reference leaves out.

    A mouse that gets used to the rig (habituation) has no wheel to turn; a camera that labcams logged has no pin
    states.
    """
    names = [protocol.name.lower() for protocol in description.protocols]
    habituation = bool(names) and all("habituation" in name for name in names)
    return frozenset(["wheel_alignment"] * habituation + ["pin_state"] * is_logged)


def _evidence(records: Records, workspace: Workspace, camera: Camera, reference_frames: Path | None) -> CameraEvidence:
    from ibl_dask.video.reducers.reference_frame import find_reference

    frame_index = load_index(workspace.index_file(camera.label))
    timed = next(r for r in records.values() if r.key[0].startswith("wheel-"))
    try:
        files = read_camera(workspace, camera, len(frame_index))
    except InputError:
        files = None
    stored = next((r for r in records.values() if r.key[0].startswith("frames-")), None)
    store = read_frames(workspace.frames_store(camera.label)) if stored is not None and stored.is_ok else None
    timing = load_timing(workspace.timing_file(camera.label))[0] if timed.is_ok else {}
    reference = find_reference(camera.label, frame_index.width, frame_index.height, reference_frames)
    return CameraEvidence(
        camera=camera,
        n_frames=len(frame_index),
        width=frame_index.width,
        height=frame_index.height,
        header_fps=frame_index.fps,
        times_s=load_times(workspace, camera.label) if timed.is_ok else None,
        no_times=timed.failure,
        n_not_measured=int(timed.value.get("n_not_measured", 0)),
        n_assumed=int(timed.value.get("n_assumed", 0)),
        timing_outcome=Outcome[timed.value.get("hint", "NOT_SET")],
        timing_notes=tuple(timed.value.get("notes", ())),
        n_camera_times=files.n_frames + files.n_beyond if files is not None and _has_clock(files) else None,
        n_records_beyond=0 if files is None else files.n_beyond,
        count=None if files is None else files.count,
        n_count_stuck=0 if files is None else files.n_count_stuck,
        pin_state=None if files is None or files.pins is None else files.pins[:, -1],
        n_ttl_rises=timed.value.get("n_ttl_rises"),
        n_decode_errors=None if store is None else int(store.columns["decode_error"].values.sum()),
        undecoded_runs=() if store is None else find_ranges(store.columns["decode_error"].values),
        time_quality=timing.get("quality"),
        residuals_s=timing.get("residuals_s"),
        period_s=timed.value.get("period_s"),
        no_face=reference if isinstance(reference, str) else "no frame was compared with the reference frame",
        **_wheel(timed.value.get("wheel", {})),
        **_measurements(store),
        **_samples(store, camera.label, frame_index),
    )


def _has_clock(files: CameraFiles) -> bool:
    return files.camera_time_s is not None or files.pc_time_s is not None


def _wheel(found: Facts) -> dict[str, Any]:
    """Return the video beside the wheel, as the step that settled the times saw it."""
    if "offset_frames" not in found:
        return {"no_wheel": found["why_not"]} if "why_not" in found else {}
    names = ("overlaps", "offset_frames", "shift_frames", "shift_s", "confidence", "is_confident", "why_not")
    return {"wheel": WheelEvidence(found["bout_s"] is not None, **{name: found[name] for name in names})}


def _measurements(store: FramesStore | None) -> dict[str, Any]:
    """Return what was measured of every frame, and the thumbnails."""
    if store is None:
        return {}
    found = {**store.columns, **store.coordinates}
    names = {
        "brightness": "brightness",
        "motion_energy": "motion_energy_wheel",
        "thumbnails": "thumbnail",
        "thumbnail_frames": "thumbnail_frame",
    }
    named = {name: found[column].values for name, column in names.items() if column in found}
    return {**named, "columns": {name: column.values for name, column in found.items()}}


def _samples(store: FramesStore | None, label: str, frame_index: FrameIndex) -> dict[str, Any]:
    """Return the values at the sampled frames, as often as the reference samples each."""
    from ibl_dask.video.reducers.camera_qc import focus_samples, sample_frames
    from ibl_dask.video.reducers.reference_frame import face_region

    if store is None or "sample_brightness" not in store.columns:
        return {}
    wanted = sample_frames(len(frame_index))
    place = np.searchsorted(store.coordinates["sample_frame"].values, wanted)
    focus = place[focus_samples(len(wanted))]
    region = face_region(label, frame_index.width, frame_index.height)
    return {
        "face": None if region is None else _face(store, region, place, focus),
        "sample_brightness": store.columns["sample_brightness"].values[place],
        "sample_laplacian": store.columns["sample_laplacian"].values[focus],
        "sample_high_frequency": store.columns["sample_high_frequency"].values[focus],
    }


def _face(
    store: FramesStore, region: Region, samples: NDArray[np.int64], focus: NDArray[np.int64]
) -> FaceEvidence | None:
    """Return how sampled frames compare with the reference frame; None where none was there."""
    if "face_x" not in store.columns:
        return None
    values = {name: column.values for name, column in store.columns.items()}
    return FaceEvidence(
        left=region.left,
        top=region.top,
        x=values["face_x"][samples],
        y=values["face_y"][samples],
        score=values["face_score"][samples],
        histogram_correlation=values["histogram_correlation"][samples],
        laplacian=values["face_laplacian"][focus],
        is_sharp=values["face_is_sharp"][focus],
    )


def publish_qc(*, records: Records, workspace: Workspace, cameras: Sequence[str]) -> Facts:
    """Write the checks of the session as one record: those of these cameras, and of the others as they were known.

    Where a camera cannot be checked any more, its last checks are kept beside the reason.
    """
    known = _known_checks(workspace)
    parts: dict[str, Any] = {}
    for label in cameras:
        record = next(r for r in records.values() if r.key[0] == f"qc-{label}")
        if record.is_ok:
            part = json.loads(workspace.qc_part(label).read_text())
        else:
            part = failed_camera_record(record.failure or "not checked")
        before = known.get(label, {})
        before = before.get("before") if "failure" in before else before
        parts[label] = {**part, "before": before} if "failure" in part and before else part
    content = session_record(workspace.session.reference, {**known, **parts})
    write_text(workspace.qc_file, json.dumps(content, indent=1))
    return {"outcome": content["outcome"], "cameras": {label: part["outcome"] for label, part in parts.items()}}


def _known_checks(workspace: Workspace) -> dict[str, Any]:
    """Return what is known of each camera that the session still has."""
    try:
        known = read_qc(workspace)
    except CorruptOutput:
        return {}  # as it says, the record is made anew
    described = {camera.label for camera in workspace.session.description.cameras}
    return {label: part for label, part in (known or {"cameras": {}})["cameras"].items() if label in described}
