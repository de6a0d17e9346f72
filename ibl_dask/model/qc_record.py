"""Layout of `qc.json`: the checks of a session as JSON holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from ibl_dask.model.outcome import Number


class CheckRecord(TypedDict, total=False):
    """One check of one camera; see `ibl_dask.model.outcome.CheckResult`."""

    name: str
    outcome: str
    """Name of an `Outcome`."""
    numbers: list[Number]
    measured: str
    threshold: str
    message: str
    values: dict[str, Number]
    in_extended_qc: bool
    """True if the reference has this check."""
    error: Mapping[str, object]
    """Error that is the reason for the outcome, as `Failure.to_json` writes it; absent where there is none."""


class CameraRecord(TypedDict, total=False):
    """One camera."""

    outcome: str
    """Worst outcome of its checks."""
    checks: Mapping[str, CheckRecord]
    """Name -> check."""
    failure: str
    """Message of the error that prevented all checks; absent where they were made."""
    error: Mapping[str, object]
    """The same error in its parts; absent in records of earlier versions."""
    verdict: Mapping[str, object]
    """Latest verdict of a person on these keypoints, as `Verdict.to_json` writes it, and `of_earlier_keypoints`; absent
    without any."""
    before: CameraRecord
    """Last checks of a camera that cannot be checked any more."""


class SessionRecord(TypedDict):
    """One session: the content of `qc.json`."""

    version: int
    session: str
    """subject/date/number."""
    outcome: str
    """Worst outcome of its cameras, and of the keypoints of each."""
    extended_qc: Mapping[str, object]
    """Keys and values of the reference."""
    cameras: Mapping[str, CameraRecord]
    """Label -> camera."""
    pose: NotRequired[Mapping[str, CameraRecord]]
    """`dlcLeft`, `lightningPoseLeft`, ... -> keypoints of that camera; absent where none were checked."""


def is_excluded(record: CameraRecord) -> bool:
    """Return whether a verdict excludes the keypoints of a record."""
    return (record.get("verdict") or {}).get("decision") == "exclude"
