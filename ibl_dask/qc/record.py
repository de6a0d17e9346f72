"""Records of checks: `qc.json`, and the extended QC of the reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.model.failure import Failure
from ibl_dask.model.outcome import CheckResult, Number, Outcome
from ibl_dask.model.qc_record import CameraRecord, CheckRecord, SessionRecord, is_excluded
from ibl_dask.model.verdict import current_verdict

if TYPE_CHECKING:
    from ibl_dask.model.verdict import Verdict
    from ibl_dask.pose.features import Tracker

QC_VERSION = 3
"""Version of the layout of `qc.json`, names of values included."""
READABLE_VERSIONS = (2, QC_VERSION)
_RENAMED = {
    "brightness": {"n_samples": "n_samples_decoded"},
    "dropped_frames": {"dropped_percent": "dropped_per_step_percent"},
    "framerate": {"mean_rate_hz": "mean_rate_near_median_hz"},
    "pulse_residuals": {"largest_residual_s": "farthest_residual_s"},
}
"""Check -> value of version 2 -> its name since version 3."""
REFERENCE_CHECKS = (
    "brightness",
    "camera_times",
    "dropped_frames",
    "file_headers",
    "focus",
    "framerate",
    "pin_state",
    "position",
    "resolution",
    "timestamps",
    "wheel_alignment",
)
"""Checks of the reference: only these are in `extended_qc`."""

TRACKERS: tuple[Tracker, ...] = ("dlc", "lightningPose")
NOT_AGGREGATED: Mapping[Tracker, tuple[str, ...]] = MappingProxyType(
    {"dlc": ("pupil_diameter_snr",), "lightningPose": ()}
)
"""Tracker -> checks of keypoints that are published, but do not count for the outcome of the camera (`ignore_checks` of
`ibllib.qc.dlc`)."""


def camera_record(results: Iterable[CheckResult]) -> CameraRecord:
    """Return the record of one camera: the worst outcome of every check, and the checks."""
    results = tuple(results)
    return {
        "outcome": Outcome.worst(r.outcome for r in results).name,
        "checks": {r.name: _check_record(r, r.name in REFERENCE_CHECKS) for r in results},
    }


def pose_record(results: Iterable[CheckResult], tracker: Tracker) -> CameraRecord:
    """Return the record of the keypoints of one camera: the worst outcome of the checks that count, and all checks."""
    results = tuple(results)
    counting = (r.outcome for r in results if r.name not in NOT_AGGREGATED[tracker])
    return {"outcome": Outcome.worst(counting).name, "checks": {r.name: _check_record(r, True) for r in results}}


def pose_namespace(tracker: Tracker, label: str) -> str:
    """Return the name of the checks of a camera's keypoints in the field's database.

    >>> pose_namespace("lightningPose", "left")
    'lightningPoseLeft'
    """
    return f"{tracker}{label.capitalize()}"


def with_verdicts(
    pose: Mapping[str, CameraRecord], verdicts: Sequence[Verdict], tables: Mapping[tuple[str, Tracker], str]
) -> dict[str, CameraRecord]:
    """Return the records of keypoints with the latest verdict on each.

    Parameters
    ----------
    pose : mapping
        Namespace (`pose_namespace`) -> record of the keypoints of a camera.
    verdicts : sequence of Verdict
        Verdicts of the session, in order.
    tables : mapping
        (camera, tracker) -> SHA-256 of the table as it is now, where it is known: a verdict on another one is marked
        by `of_earlier_keypoints`.
    """
    judged = dict(pose)
    for camera in {verdict.camera for verdict in verdicts}:
        for tracker in TRACKERS:
            found, namespace = current_verdict(verdicts, camera, tracker), pose_namespace(tracker, camera)
            if found is None or namespace not in pose:
                continue
            seen, now = found.tables.get(tracker), tables.get((camera, tracker))
            is_earlier = seen is not None and now is not None and seen != now
            judged[namespace] = {
                **pose[namespace],
                "verdict": {**found.to_json(), "of_earlier_keypoints": is_earlier},
            }
    return judged


def _check_record(result: CheckResult, in_extended_qc: bool) -> CheckRecord:
    record: CheckRecord = {
        "name": result.name,
        "outcome": result.outcome.name,
        "numbers": [_finite(number) for number in result.numbers],
        "measured": result.measured,
        "threshold": result.threshold,
        "message": result.message,
        "values": {name: _finite(number) for name, number in result.values.items()},
        "in_extended_qc": in_extended_qc,
    }
    if result.failure is not None:
        record["error"] = result.failure.to_json()
    return record


def _finite(number: Number) -> Number:
    """Return a number as a Python scalar; None where JSON cannot hold it (NaN, infinity)."""
    plain: Number = number.item() if isinstance(number, np.generic) else number
    return plain if plain is not None and math.isfinite(plain) else None


def failed_camera_record(reason: Failure | str) -> CameraRecord:
    """Return the record of a camera that could not be checked at all."""
    if isinstance(reason, str):
        return {"outcome": Outcome.CRITICAL.name, "checks": {}, "failure": reason}
    return {
        "outcome": Outcome.CRITICAL.name,
        "checks": {},
        "failure": reason.message,
        "error": reason.to_json(),
    }


def extended_qc(cameras: Mapping[str, CameraRecord]) -> dict[str, object]:
    """Return the keys and values of the field's database: those of the reference's checks alone.

    `_video{Label}_{check}` holds an outcome name, or a list of it and the check's numbers; `video{Label}` the worst of
    these. Checks beyond the reference are left out, so that sessions stay comparable with those that it has judged.
    """
    out: dict[str, object] = {}
    for label, record in cameras.items():
        namespace = f"video{label.capitalize()}"
        checks = {name: content for name, content in record["checks"].items() if name in REFERENCE_CHECKS}
        out |= _published(namespace, checks)
        worst = Outcome.worst(Outcome[content["outcome"]] for content in checks.values()).name
        out[namespace] = record["outcome"] if "failure" in record else worst
    return out


def extended_pose_qc(pose: Mapping[str, CameraRecord]) -> dict[str, object]:
    """Return the keys and values of the field's database for keypoints: `_dlcLeft_{check}` and `dlcLeft`.

    Parameters
    ----------
    pose : mapping
        Namespace (`pose_namespace`) -> record of the keypoints of a camera.
    """
    out: dict[str, object] = {}
    for namespace, record in pose.items():
        out |= _published(namespace, record["checks"])
        out[namespace] = record["outcome"]
    return out


def _published(namespace: str, checks: Mapping[str, CheckRecord]) -> dict[str, object]:
    return {
        f"_{namespace}_{name}": [content["outcome"], *content["numbers"]] if content["numbers"] else content["outcome"]
        for name, content in checks.items()
    }


def session_record(
    session: str, cameras: Mapping[str, CameraRecord], pose: Mapping[str, CameraRecord] | None = None
) -> SessionRecord:
    """Return the content of `qc.json`.

    `extended_qc` is the publication of the reference; `cameras` holds every check with all its numbers and, for a
    camera that cannot be checked any more, its last checks under `before`.

    Parameters
    ----------
    session : str
        subject/date/number.
    cameras : mapping
        Label -> record of the camera.
    pose : mapping, optional
        Namespace (`pose_namespace`) -> record of the keypoints of a camera.
    """
    pose = pose or {}
    counting = [record for record in pose.values() if not is_excluded(record)]  # they do not count
    record: SessionRecord = {
        "version": QC_VERSION,
        "session": session,
        "outcome": Outcome.worst(Outcome[r["outcome"]] for r in (*cameras.values(), *counting)).name,
        "extended_qc": extended_qc(cameras) | extended_pose_qc(pose),
        "cameras": dict(cameras),
    }
    if pose:
        record["pose"] = dict(pose)
    return record


def read_session_record(content: Mapping[str, Any]) -> SessionRecord:  # parsed JSON, checked here
    """Return the content of `qc.json` of one of `READABLE_VERSIONS` in the layout of this version.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If it is no such record.
    """
    renamed = _RENAMED if content["version"] < QC_VERSION else {}
    return {
        **content,  # type: ignore[typeddict-item]  # other keys are kept as they are
        "version": QC_VERSION,
        "outcome": Outcome[content["outcome"]].name,
        "cameras": {str(label): _read_camera(part, renamed) for label, part in content["cameras"].items()},
        **({"pose": {str(n): _read_camera(p, {}) for n, p in content["pose"].items()}} if "pose" in content else {}),
    }


def _read_camera(part: CameraRecord, renamed: Mapping[str, Mapping[str, str]]) -> CameraRecord:
    checks: dict[str, CheckRecord] = {}
    for check, content in part["checks"].items():
        names = renamed.get(check, {})
        values = {names.get(name, name): _finite(number) for name, number in content["values"].items()}
        numbers = [_finite(number) for number in content["numbers"]]
        checks[check] = {**content, "outcome": Outcome[content["outcome"]].name, "numbers": numbers, "values": values}
    read: CameraRecord = {**part, "outcome": Outcome[part["outcome"]].name, "checks": checks}
    if "before" in part:
        read["before"] = _read_camera(part["before"], renamed)
    return read
