"""Steps that check the cameras of a session and publish the outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import CorruptOutput, InputError
from ibl_dask.model.description import Camera, ExperimentDescription
from ibl_dask.model.frame_ranges import find_ranges
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.qc_record import CameraRecord
from ibl_dask.model.region import Region
from ibl_dask.model.result import CamerasJudged, Result
from ibl_dask.model.step import Step, StepKey, StepRecord, Upstream
from ibl_dask.qc.evidence import CameraEvidence, FaceEvidence, WheelEvidence
from ibl_dask.qc.record import camera_record, failed_camera_record, session_record
from ibl_dask.store.atomic import write_text
from ibl_dask.store.frames import FramesStore, read_frames
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.qc_file import changing_qc, judged, read_qc
from ibl_dask.tasks.session_files import has_camlog_only, read_camera
from ibl_dask.tasks.video_sync.pulse_times import load_times, load_timing
from ibl_dask.tasks.video_sync.timing_summary import FramesTimed
from ibl_dask.timing.camera.camera_files import CameraFiles
from ibl_dask.video.container.index import FrameIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCamera(Step):
    """Check one camera, and keep the outcomes for the session's record."""

    kind: ClassVar[str] = "qc"
    allow_failed: ClassVar[tuple[str, ...]] = ("index", "wheel", "merge")

    workspace: Workspace
    """The session."""
    described: Camera
    """The camera as described."""
    reference_frames: Path | None
    """Folder of reference frames; None without."""
    index: StepKey
    """Indexes the video."""
    wheel: StepKey | None = None
    """Publishes the times; None where the video could not be indexed."""
    merge: StepKey | None = None
    """Writes the per-frame store; None where the video could not be indexed."""
    parents: tuple[str, ...] = ()
    """Fingerprints of all steps of the camera."""

    def identity(self) -> Mapping[str, object]:
        return {"parents": self.parents, "index": self.index.fingerprint}

    def run(self, upstream: Upstream) -> Result:
        from ibl_dask.qc.checks import run_checks  # OpenCV: a plan imports this module too

        workspace, camera, indexed = self.workspace, self.described, upstream[self.index]
        if indexed.is_ok and self.wheel is not None:
            evidence = self._evidence(upstream, upstream[self.wheel])
            without = not_asked(workspace.session.description, has_camlog_only(workspace, camera))
            record = camera_record(run_checks(evidence, without=without))
        else:
            record = failed_camera_record(indexed.failure or "its video cannot be indexed")
        write_text(workspace.qc_part(camera.label), json.dumps(record))
        outcomes = {name: content["outcome"] for name, content in record["checks"].items()}
        return Result(facts={"outcome": record["outcome"], "checks": outcomes})

    def _evidence(self, upstream: Upstream, timed: StepRecord) -> CameraEvidence:
        is_stored = self.merge is not None and upstream[self.merge].is_ok
        store = read_frames(self.workspace.frames_store(self.described.label)) if is_stored else None
        return _evidence(self.workspace, self.described, timed, store, self.reference_frames)


def not_asked(description: ExperimentDescription, is_logged: bool) -> frozenset[str]:
    """Return the checks that make no sense for a session, the same as the reference leaves out.

    A mouse that gets used to the rig (habituation) has no wheel to turn; a camera that labcams logged has no pin
    states.
    """
    names = [protocol.name.lower() for protocol in description.protocols]
    habituation = bool(names) and all("habituation" in name for name in names)
    return frozenset(["wheel_alignment"] * habituation + ["pin_state"] * is_logged)


def _evidence(
    workspace: Workspace,
    camera: Camera,
    timed: StepRecord,
    store: FramesStore | None,
    reference_frames: Path | None,
) -> CameraEvidence:
    """Gather the evidence on a camera.

    Parameters
    ----------
    workspace, camera
        The session and the camera.
    timed
        Record of the step that published the times.
    store
        Per-frame store; None without.
    reference_frames
        Folder of reference frames; None without.
    """
    from ibl_dask.video.reducers.reference_frame import find_reference

    frame_index = load_index(workspace.index_file(camera.label))
    try:
        files = read_camera(workspace, camera, len(frame_index))
    except InputError:
        files = None
    timing = load_timing(workspace.timing_file(camera.label))[0] if timed.is_ok else {}
    summary = timed.result.timing if isinstance(timed.result, FramesTimed) else None
    wheel = (timed.result.wheel if isinstance(timed.result, FramesTimed) else None) or {}
    reference = find_reference(camera.label, frame_index.width, frame_index.height, reference_frames)
    return CameraEvidence(
        camera=camera,
        n_frames=len(frame_index),
        width=frame_index.width,
        height=frame_index.height,
        header_fps=frame_index.fps,
        times_s=load_times(workspace, camera.label) if timed.is_ok else None,
        no_times=timed.failure,
        n_not_measured=0 if summary is None else summary.n_not_measured,
        n_assumed=0 if summary is None else summary.n_assumed,
        timing_outcome=Outcome.NOT_SET if summary is None else summary.outcome,
        timing_notes=() if summary is None else summary.notes,
        n_camera_times=files.n_frames + files.n_beyond if files is not None and _has_clock(files) else None,
        n_records_beyond=0 if files is None else files.n_beyond,
        count=None if files is None else files.count,
        n_count_stuck=0 if files is None else files.n_count_stuck,
        pin_state=None if files is None or files.pins is None else files.pins[:, -1],
        n_ttl_rises=None if summary is None else summary.n_ttl_rises,
        n_decode_errors=None if store is None else int(store.columns["decode_error"].values.sum()),
        undecoded_runs=() if store is None else find_ranges(store.columns["decode_error"].values),
        time_quality=timing.get("quality"),
        residuals_s=timing.get("residuals_s"),
        period_s=None if summary is None else summary.period_s,
        no_face=reference if isinstance(reference, str) else "no frame was compared with the reference frame",
        **_wheel(wheel),
        **_measurements(store),
        **_samples(store, camera.label, frame_index),
    )


def _has_clock(files: CameraFiles) -> bool:
    return files.camera_time_s is not None or files.pc_time_s is not None


def _wheel(found: JsonObject) -> dict[str, Any]:  # JSON; fields of the evidence
    """Return the comparison with the wheel, as the step that settled the times made it."""
    if "offset_frames" not in found:
        return {"no_wheel": found["why_not"]} if "why_not" in found else {}
    names = ("overlaps", "offset_frames", "shift_frames", "shift_s", "confidence", "is_confident", "why_not")
    return {"wheel": WheelEvidence(found["bout_s"] is not None, **{name: found[name] for name in names})}


def _measurements(store: FramesStore | None) -> dict[str, Any]:  # fields of the evidence
    """Return the measurements of every frame, and the thumbnails."""
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


def _samples(
    store: FramesStore | None, label: str, frame_index: FrameIndex
) -> dict[str, Any]:  # fields of the evidence
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
    """Return the comparison of sampled frames with the reference frame; None without one."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishQc(Step):
    """Write the checks of the session as one record: those of these cameras, and earlier ones of the others.

    Where a camera can be checked no more, its last checks are kept beside the reason.
    """

    kind: ClassVar[str] = "publish"
    allow_failed: ClassVar[tuple[str, ...]] = ("checks",)

    workspace: Workspace
    """The session."""
    cameras: tuple[str, ...]
    """Labels of the cameras."""
    checks: tuple[StepKey, ...]
    """Check them, in the same order."""

    def identity(self) -> Mapping[str, object]:
        return {"parents": [key.fingerprint for key in self.checks], "cameras": self.cameras}

    def run(self, upstream: Upstream) -> CamerasJudged:
        with changing_qc(self.workspace):
            known = known_checks(self.workspace)
            parts = {
                label: _part(self.workspace, label, upstream[key], known.get(label, {}))
                for label, key in zip(self.cameras, self.checks, strict=True)
            }
            pose = judged(self.workspace, known_pose(self.workspace))
            content = session_record(self.workspace.session.reference, {**known, **parts}, pose)
            write_text(self.workspace.qc_file, json.dumps(content, indent=1))
        outcomes = {label: part["outcome"] for label, part in parts.items()}
        return CamerasJudged(cameras=outcomes, facts={"outcome": content["outcome"]})


def _part(workspace: Workspace, label: str, record: StepRecord, before: CameraRecord) -> CameraRecord:
    """Return the checks of one camera, with the last ones before where it could not be checked."""
    part: CameraRecord
    if record.is_ok:
        part = json.loads(workspace.qc_part(label).read_text())
    else:
        part = failed_camera_record(record.failure or "not checked")
    last = before.get("before") if "failure" in before else before
    if "failure" in part and last:
        part["before"] = last
    return part


def known_pose(workspace: Workspace) -> Mapping[str, CameraRecord]:
    """Return the last checks of the keypoints of each camera."""
    try:
        record = read_qc(workspace)
    except CorruptOutput:
        return {}
    return {} if record is None else record.get("pose", {})


def known_checks(workspace: Workspace) -> dict[str, CameraRecord]:
    """Return the last checks of each camera that the session still has."""
    try:
        known = read_qc(workspace)
    except CorruptOutput:
        return {}  # the record is made anew
    described = {camera.label for camera in workspace.session.description.cameras}
    return {label: part for label, part in (known or {"cameras": {}})["cameras"].items() if label in described}
