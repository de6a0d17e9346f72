"""What is published of the checks of a session."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ibl_dask.model.outcome import CheckResult, Number, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

QC_VERSION = 1
"""Version of the layout of `qc.json`."""


def camera_record(results: Iterable[CheckResult]) -> dict[str, Any]:
    """Return the record of one camera: overall outcome and every check."""
    results = tuple(results)
    checks = {
        r.name: {**asdict(r), "outcome": r.outcome.name, "numbers": [_finite(n) for n in r.numbers]} for r in results
    }
    return {"outcome": Outcome.worst(r.outcome for r in results).name, "checks": checks}


def _finite(number: Number) -> Number:
    """Return None for what JSON has no word for."""
    return number if number is not None and math.isfinite(number) else None


def failed_camera_record(reason: str) -> dict[str, Any]:
    """Return the record of a camera that could not be checked at all."""
    return {"outcome": Outcome.CRITICAL.name, "checks": {}, "failure": reason}


def extended_qc(cameras: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the keys and values that the field's database stores.

    `_video{Label}_{check}` holds an outcome name, or a list of it and the check's numbers; `video{Label}` the worst.
    """
    out: dict[str, Any] = {}
    for label, record in cameras.items():
        namespace = f"video{label.capitalize()}"
        for name, content in record["checks"].items():
            numbers = content["numbers"]
            out[f"_{namespace}_{name}"] = [content["outcome"], *numbers] if numbers else content["outcome"]
        out[namespace] = record["outcome"]
    return out


def session_record(session: str, cameras: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of `qc.json`."""
    return {
        "version": QC_VERSION,
        "session": session,
        "outcome": Outcome.worst(Outcome[r["outcome"]] for r in cameras.values()).name,
        "cameras": dict(cameras),
        "extended_qc": extended_qc(cameras),
    }
