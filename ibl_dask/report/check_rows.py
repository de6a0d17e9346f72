"""Checks of cameras as rows of a table, in reading order: failing ones first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ibl_dask.model.check_remedies import REMEDIES
from ibl_dask.model.failure import Failure
from ibl_dask.model.qc_record import CameraRecord, CheckRecord, is_excluded

_NAMESPACE = re.compile(r"(?P<tracker>.+)(?P<label>[A-Z][a-z]*)")
"""Name of the checks of a camera's keypoints in the field's database, such as `lightningPoseLeft`."""
_OUTCOMES_OF_VERDICTS = {"accept": "PASS", "rerun": "WARNING", "label": "WARNING", "exclude": "NOT_SET"}
_ORDER = ("CRITICAL", "FAIL", "WARNING", "NOT_SET", "PASS")


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check of one camera, as text."""

    camera: str
    """Label of the camera."""
    check: str
    """Name of the check; empty where the camera could not be checked at all."""
    outcome: str
    """Name of the outcome."""
    measured: str = ""
    """Measured values with units."""
    numbers: str = ""
    """Numbers published beside the outcome."""
    threshold: str = ""
    """Threshold that the values are compared with."""
    message: str = ""
    """Reason for the outcome."""
    failure: Failure | None = None
    """Error that is the reason; None where it is no error, or where an earlier version wrote the record."""
    do: str = ""
    """What to do; empty where it passed, or no remedy is known."""


def severity(outcome: object) -> int:
    """Return the rank of an outcome in a list that starts with the worst.

    >>> sorted(["PASS", "FAIL", "NOT_SET", "CRITICAL", "WARNING"], key=severity)
    ['CRITICAL', 'FAIL', 'WARNING', 'NOT_SET', 'PASS']
    """
    name = str(outcome)
    return _ORDER.index(name) if name in _ORDER else _ORDER.index("NOT_SET")


def camera_failure(record: CameraRecord) -> Failure | None:
    """Return why a camera could not be checked at all, from its part of `qc.json`; None where it could."""
    if record.get("error"):
        return Failure.from_json(record["error"])
    message = str(record.get("failure") or "")
    return Failure("", "", message) if message else None


def read_check_rows(camera: str, record: CameraRecord) -> tuple[CheckRow, ...]:
    """Return the checks of one camera's part of `qc.json`, failing ones first."""
    rows = [_check_row(camera, str(name), content or {}) for name, content in (record.get("checks") or {}).items()]
    failure = camera_failure(record)
    if failure is not None:
        outcome = str(record.get("outcome", "CRITICAL"))
        rows.append(CheckRow(camera, "", outcome, message=failure.message, failure=failure))
    return worst_first(rows)


def read_pose_rows(pose: Mapping[str, CameraRecord]) -> dict[str, tuple[CheckRow, ...]]:
    """Return the checks of keypoints by the label of their camera, each named after its tracker, and the verdicts.

    Of keypoints that a verdict excludes there is the verdict alone.

    Parameters
    ----------
    pose : mapping
        Part `pose` of `qc.json`: `dlcLeft`, `lightningPoseLeft`, ... -> record of the keypoints of that camera.
    """
    rows: dict[str, tuple[CheckRow, ...]] = {}
    for namespace, record in pose.items():
        tracker, label = split_namespace(str(namespace))
        verdict = verdict_row(label, record)
        checks = () if is_excluded(record) else read_check_rows(label, record)
        of_tracker = (*checks, *(() if verdict is None else (verdict,)))
        named = (replace(row, check=f"{tracker} {row.check}".strip()) for row in of_tracker)
        rows[label] = worst_first((*rows.get(label, ()), *named))
    return rows


def verdict_row(camera: str, record: CameraRecord) -> CheckRow | None:
    """Return the verdict of a person on keypoints; None without any."""
    verdict = record.get("verdict")
    if not verdict:
        return None
    decision = str(verdict.get("decision"))
    about = f"{decision}, by {verdict.get('by')} on {str(verdict.get('at'))[:10]}"
    outcome = _OUTCOMES_OF_VERDICTS.get(decision, "NOT_SET")
    if verdict.get("of_earlier_keypoints"):
        about += ", of earlier keypoints"
        outcome = "NOT_SET" if decision == "accept" else outcome
    return CheckRow(camera, "verdict", outcome, measured=about, message=str(verdict.get("reason") or ""))


def outcome_with_keypoints(camera: CameraRecord, keypoints: Iterable[CameraRecord]) -> str:
    """Return the outcome of a camera, or that of its keypoints where it is worse than PASS and than that."""
    counting = (record for record in keypoints if not is_excluded(record))
    outcomes = [str(record.get("outcome") or "NOT_SET") for record in (camera, *counting)]
    bad = (outcome for outcome in outcomes[1:] if severity(outcome) < severity("NOT_SET"))
    return min((outcomes[0], *bad), key=severity)


def split_namespace(namespace: str) -> tuple[str, str]:
    """Return tracker and label of the camera of a name.

    >>> split_namespace("lightningPoseLeft")
    ('lightningPose', 'left')
    """
    match = _NAMESPACE.fullmatch(namespace)
    return (match["tracker"], match["label"].lower()) if match else ("", namespace)


def worst_first(rows: Iterable[CheckRow]) -> tuple[CheckRow, ...]:
    """Order rows by severity; equal ones keep their order, and checks that were not made come last."""
    return tuple(sorted(rows, key=lambda row: (row.outcome == "NOT_SET", severity(row.outcome))))


def check_failure(content: CheckRecord) -> Failure | None:
    """Return the error that is the reason for the outcome of a check; None where its message is no error."""
    return Failure.from_json(content["error"]) if content.get("error") else None


def _check_row(camera: str, name: str, content: CheckRecord) -> CheckRow:
    texts = {key: str(content.get(key) or "") for key in ("measured", "threshold", "message")}
    numbers = ", ".join("none" if n is None else f"{n:g}" for n in content.get("numbers") or ())
    outcome = str(content.get("outcome") or "NOT_SET")
    do = "" if outcome in ("PASS", "NOT_SET") else REMEDIES.get(name, "")
    return CheckRow(camera, name, outcome, numbers=numbers, failure=check_failure(content), do=do, **texts)
