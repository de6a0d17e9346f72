"""Checks of cameras as rows of a table, in reading order: failing ones first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ibl_dask.model.failure import Failure
from ibl_dask.model.qc_record import CameraRecord, CheckRecord

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


def worst_first(rows: Iterable[CheckRow]) -> tuple[CheckRow, ...]:
    """Order rows by severity; equal ones keep their order."""
    return tuple(sorted(rows, key=lambda row: severity(row.outcome)))


def check_failure(content: CheckRecord) -> Failure | None:
    """Return the error that is the reason for the outcome of a check; None where its message is no error."""
    return Failure.from_json(content["error"]) if content.get("error") else None


def _check_row(camera: str, name: str, content: CheckRecord) -> CheckRow:
    texts = {key: str(content.get(key) or "") for key in ("measured", "threshold", "message")}
    numbers = ", ".join("none" if n is None else f"{n:g}" for n in content.get("numbers") or ())
    outcome = str(content.get("outcome") or "NOT_SET")
    return CheckRow(camera, name, outcome, numbers=numbers, failure=check_failure(content), **texts)
