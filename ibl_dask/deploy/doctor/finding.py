"""Findings of the doctor: one checked property of the driver or of a pool, and its importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum

from ibl_dask.deploy.site.profile import Pool

DRIVER = "driver"
"""Place of the driver's own findings."""


class Importance(IntEnum):
    """Importance of a finding; a larger one is worse."""

    OK = 0
    NOTE = 10
    WARNING = 20
    PROBLEM = 30


@dataclass(frozen=True, slots=True)
class SiteFinding:
    """Result of one check."""

    place: str
    """`driver`, or `pool NAME`."""
    check: str
    """Name of the check."""
    importance: Importance
    """Importance of the result."""
    found: str
    """Result, with units."""
    do: str = ""
    """Advice; empty if nothing needs to be done."""

    def to_json(self) -> dict[str, str]:
        """Return a mapping for JSON and for `report.terminal.doctor_table`."""
        return asdict(self) | {"importance": self.importance.name.lower()}


def place_of(pool: Pool) -> str:
    """Return the place of a pool's findings."""
    return f"pool {pool.name}"


def worst(findings: Sequence[SiteFinding]) -> Importance:
    """Return the highest importance; `OK` without findings."""
    return max((finding.importance for finding in findings), default=Importance.OK)
