"""What is published of the checks of a session."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.model.outcome import CheckResult, Number, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

QC_VERSION = 3
"""Version of the layout of `qc.json`, names of values included."""
READABLE_VERSIONS = (2, QC_VERSION)
_RENAMED = {
    "brightness": {"n_samples": "n_samples_decoded"},
    "dropped_frames": {"dropped_percent": "dropped_per_step_percent"},
    "framerate": {"mean_rate_hz": "mean_rate_near_median_hz"},
    "pulse_residuals": {"largest_residual_s": "farthest_residual_s"},
}
"""Values of version 2 under the names of what they are."""
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
"""Checks that the reference has: these, and no others, are in `extended_qc`."""


def camera_record(results: Iterable[CheckResult]) -> dict[str, Any]:
    """Return the record of one camera: the worst outcome of every check, and the checks."""
    results = tuple(results)
    return {
        "outcome": Outcome.worst(r.outcome for r in results).name,
        "checks": {r.name: _check_record(r) for r in results},
    }


def _check_record(result: CheckResult) -> dict[str, Any]:
    return {
        **asdict(result),
        "outcome": result.outcome.name,
        "in_extended_qc": result.name in REFERENCE_CHECKS,
        "numbers": [_finite(number) for number in result.numbers],
        "values": {name: _finite(number) for name, number in result.values.items()},
    }


def _finite(number: Number) -> Number:
    """Return a number of Python's own; None for what JSON has no word for."""
    plain: Number = number.item() if isinstance(number, np.generic) else number
    return plain if plain is not None and math.isfinite(plain) else None


def failed_camera_record(reason: str) -> dict[str, Any]:
    """Return the record of a camera that could not be checked at all."""
    return {"outcome": Outcome.CRITICAL.name, "checks": {}, "failure": reason}


def extended_qc(cameras: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the keys and values that the field's database stores: those of the reference's checks alone.

    `_video{Label}_{check}` holds an outcome name, or a list of it and the check's numbers; `video{Label}` the worst of
    these. Checks that the reference lacks are no part of it: sessions stay comparable with those it has judged.
    """
    out: dict[str, Any] = {}
    for label, record in cameras.items():
        namespace = f"video{label.capitalize()}"
        checks = {name: content for name, content in record["checks"].items() if name in REFERENCE_CHECKS}
        for name, content in checks.items():
            numbers = content["numbers"]
            out[f"_{namespace}_{name}"] = [content["outcome"], *numbers] if numbers else content["outcome"]
        worst = Outcome.worst(Outcome[content["outcome"]] for content in checks.values()).name
        out[namespace] = record["outcome"] if "failure" in record else worst
    return out


def session_record(session: str, cameras: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of `qc.json`.

    `extended_qc` is what the reference would publish; `cameras` holds every check, with every number it looked at, and
    for a camera that cannot be checked any more its last ones, under `before`.
    """
    return {
        "version": QC_VERSION,
        "session": session,
        "outcome": Outcome.worst(Outcome[r["outcome"]] for r in cameras.values()).name,
        "extended_qc": extended_qc(cameras),
        "cameras": dict(cameras),
    }


def read_session_record(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `qc.json` of one of `READABLE_VERSIONS`, as this version would have written it.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If it is no such record.
    """
    renamed = _RENAMED if content["version"] < QC_VERSION else {}
    cameras = {str(label): _read_camera(part, renamed) for label, part in content["cameras"].items()}
    return {**content, "version": QC_VERSION, "outcome": Outcome[content["outcome"]].name, "cameras": cameras}


def _read_camera(part: Mapping[str, Any], renamed: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    checks = {}
    for check, content in part["checks"].items():
        names = renamed.get(check, {})
        values = {names.get(name, name): _finite(number) for name, number in content["values"].items()}
        numbers = [_finite(number) for number in content["numbers"]]
        checks[check] = {**content, "outcome": Outcome[content["outcome"]].name, "numbers": numbers, "values": values}
    before = {"before": _read_camera(part["before"], renamed)} if "before" in part else {}
    return {**part, "outcome": Outcome[part["outcome"]].name, "checks": checks, **before}
