"""Checks in the order in which people should read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_ORDER = ("CRITICAL", "FAIL", "WARNING", "NOT_SET", "PASS")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one camera, as words."""

    camera: str
    """Label of the camera."""
    check: str
    """Name of the check; empty where the camera could not be checked at all."""
    outcome: str
    """Name of the outcome."""
    measured: str = ""
    """What was measured."""
    numbers: str = ""
    """Numbers that are published beside the outcome."""
    threshold: str = ""
    """What it was compared with."""
    message: str = ""
    """Why the outcome is what it is."""


def severity(outcome: object) -> int:
    """Return the place of an outcome in a list that starts with the worst.

    >>> sorted(["PASS", "FAIL", "NOT_SET", "CRITICAL", "WARNING"], key=severity)
    ['CRITICAL', 'FAIL', 'WARNING', 'NOT_SET', 'PASS']
    """
    name = str(outcome)
    return _ORDER.index(name) if name in _ORDER else _ORDER.index("NOT_SET")


def read_findings(camera: str, record: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return the checks of one camera's part of `qc.json`, failing ones first."""
    found = [_finding(camera, str(name), content or {}) for name, content in (record.get("checks") or {}).items()]
    if record.get("failure"):
        found.append(Finding(camera, "", str(record.get("outcome", "CRITICAL")), message=str(record["failure"])))
    return worst_first(found)


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings by severity; equal ones keep their order."""
    return tuple(sorted(findings, key=lambda finding: severity(finding.outcome)))


def _finding(camera: str, name: str, content: Mapping[str, Any]) -> Finding:
    words = {key: str(content.get(key) or "") for key in ("measured", "threshold", "message")}
    numbers = ", ".join("none" if n is None else f"{n:g}" for n in content.get("numbers") or ())
    return Finding(camera, name, str(content.get("outcome") or "NOT_SET"), numbers=numbers, **words)
