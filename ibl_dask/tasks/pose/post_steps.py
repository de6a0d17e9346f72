"""Steps after pose estimation: features and checks of each camera, licks and figure of the session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import IblDaskError, MissingFile
from ibl_dask.model.failure import Failure
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.pose.features import FEATURE_CAMERAS, Features, features
from ibl_dask.pose.licks import TONGUE, lick_times, session_licks
from ibl_dask.pose.pupil import PUPIL
from ibl_dask.qc.pose import run_pose_checks
from ibl_dask.qc.pose_evidence import PoseEvidence
from ibl_dask.qc.record import pose_namespace, pose_record, session_record
from ibl_dask.store import alf
from ibl_dask.store.atomic import write_text
from ibl_dask.store.failures import failure_from
from ibl_dask.store.tables import table_bytes
from ibl_dask.tasks.pose.post_files import PoseFiles, features_file, licks_file
from ibl_dask.tasks.qc_file import changing_qc, judged
from ibl_dask.tasks.video_sync.camera_qc import known_checks, known_pose


def has_features(names: tuple[str, ...], camera: str) -> bool:
    """Return whether a network tracks the pupil on a camera that shows it."""
    return camera in FEATURE_CAMERAS and all(name in names for name in PUPIL)


def has_licks(names: tuple[str, ...], camera: str) -> bool:
    """Return whether a network tracks the tongue on a camera that shows it."""
    return camera in FEATURE_CAMERAS and all(name in names for name in TONGUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseDescribed(Result):
    """Features and checks of a camera."""

    record: Mapping[str, object]
    """Checks of the keypoints; JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribePose(Step):
    """Compute the features of a camera, and check its keypoints."""

    kind: ClassVar[str] = "features"
    result_form: ClassVar[type[Result]] = PoseDescribed

    files: PoseFiles
    """Files of the session."""
    inputs: object
    """Identities of the files; JSON."""
    frame_size_px: tuple[int, int] | None
    """Width and height of the frames; None if they are not known."""

    def identity(self) -> Mapping[str, object]:
        return {"inputs": self.inputs, "tracker": self.files.tracker, "size": self.frame_size_px}

    def run(self, upstream: Upstream) -> PoseDescribed:
        keypoints = self.files.read_keypoints(self.camera)
        times = self.files.read_times(self.camera)
        made: Features | None = None
        outputs = []
        if has_features(keypoints.names, self.camera):
            made = features(keypoints, self.camera, self.files.tracker, _rate_hz(times))
            content = table_bytes(made.columns())
            workspace = self.files.workspace
            outputs.append(alf.publish(features_file(workspace, self.camera), content, workspace.overwrite))
        evidence = PoseEvidence(
            self.camera,
            self.files.tracker,
            keypoints.likely(),
            times,
            self.files.read_trials().get("stimOn_times"),
            None if made is None else made.pupil_raw_px,
            None if made is None else made.pupil_smooth_px,
            self.frame_size_px,
        )
        record = pose_record(run_pose_checks(evidence), self.files.tracker)
        notes = () if made is None else tuple(f"pupil: {note}" for note in made.notes)
        return PoseDescribed(record=dict(record), outputs=tuple(outputs), notes=notes)


def _rate_hz(times_s: NDArray[np.float64] | None) -> float | None:
    """Return the rate of a camera in whole Hz, as rates are given, from its frame times; None without them."""
    if times_s is None or len(times_s) < 2:
        return None
    interval_s = float(np.nanmedian(np.diff(times_s)))
    return float(round(1 / interval_s)) if interval_s > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishLicks(Step):
    """Publish the licks that the cameras of a session show."""

    kind: ClassVar[str] = "licks"

    files: PoseFiles
    """Files of the session."""
    cameras: tuple[str, ...]
    """Cameras whose networks track the tongue."""
    inputs: object
    """Identities of the files; JSON."""

    def identity(self) -> Mapping[str, object]:
        return {"inputs": self.inputs, "tracker": self.files.tracker, "cameras": list(self.cameras)}

    def run(self, upstream: Upstream) -> Result:
        found: list[NDArray[np.float64]] = []
        lacking: list[IblDaskError] = []
        for camera in self.cameras:
            try:
                found.append(self._licks(camera))
            except IblDaskError as error:
                lacking.append(error)
        if not found:
            raise lacking[0]
        workspace = self.files.workspace
        target = alf.publish_npy(licks_file(workspace), session_licks(found), workspace.overwrite)
        reason: Failure | str = failure_from(lacking[0]) if lacking else ""
        return Result(
            outputs=(target,),
            facts={"licks": int(sum(len(times) for times in found)), "cameras": len(found)},
            disposition="incomplete" if lacking else "complete",
            reason=reason,
        )

    def _licks(self, camera: str) -> NDArray[np.float64]:
        times = self.files.read_times(camera)
        if times is None:
            raise MissingFile(
                f"licks of the {camera} camera need its frame times",
                where=str(self.files.workspace.times_file(camera)),
                expected="a time for each frame",
                got="no such file",
                do="run the task that times the cameras (VideoSyncQC) first",
            )
        return lick_times(self.files.read_keypoints(camera).likely(), times)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPoseQc(Step):
    """Add the checks of the keypoints to those of the session."""

    kind: ClassVar[str] = "poseqc"
    allow_failed: ClassVar[tuple[str, ...]] = ("described",)

    files: PoseFiles
    """Files of the session."""
    cameras: tuple[str, ...]
    """Labels, in the order of `described`."""
    described: tuple[StepKey, ...]
    """Check the cameras."""

    def identity(self) -> Mapping[str, object]:
        return {"parents": [key.fingerprint for key in self.described]}

    def run(self, upstream: Upstream) -> Result:
        workspace = self.files.workspace
        records: dict[str, JsonObject] = {}
        for camera, key in zip(self.cameras, self.described, strict=True):
            if upstream[key].is_ok:
                records[camera] = dict(upstream.result(key, PoseDescribed).record)
        pose = {pose_namespace(self.files.tracker, camera): record for camera, record in records.items()}
        with changing_qc(workspace):
            known = known_checks(workspace)
            records_of_pose = judged(workspace, {**known_pose(workspace), **pose})  # type: ignore[dict-item]  # JSON of these records
            content = session_record(workspace.session.reference, known, records_of_pose)
            text = json.dumps(content, indent=1)
            if not workspace.qc_file.exists() or workspace.qc_file.read_text() != text:
                write_text(workspace.qc_file, text)
        return Result(facts={name: record["outcome"] for name, record in pose.items()})
