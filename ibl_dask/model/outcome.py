"""Outcomes of checks, in the vocabulary and order of the field."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from ibl_dask.model.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Number = float | int | None
"""A number beside an outcome; None if it could not be computed."""


class Outcome(IntEnum):
    """Outcomes with the values of `one.alf.spec.QC`; a larger one is worse."""

    NOT_SET = 0
    PASS = 10
    WARNING = 30
    FAIL = 40
    CRITICAL = 50

    @staticmethod
    def worst(outcomes: Iterable[Outcome]) -> Outcome:
        """Return the worst of some outcomes; NOT_SET for none.

        >>> Outcome.worst([Outcome.PASS, Outcome.NOT_SET, Outcome.WARNING]).name
        'WARNING'
        """
        return max(outcomes, default=Outcome.NOT_SET)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check."""

    name: str
    """Name of the check, as in the extended QC key `_video{Label}_{name}`."""
    outcome: Outcome
    """Outcome of the check."""
    numbers: tuple[Number, ...] = ()
    """Numbers the reference publishes beside the outcome, in its order."""
    measured: str = ""
    """Measured values with units, as text."""
    threshold: str = ""
    """Threshold that the values are compared with."""
    message: str = ""
    """Reason for the outcome, where the numbers do not show it."""
    values: Mapping[str, Number] = field(default_factory=dict, hash=False)
    """All numbers of the check, by a name with its unit, published by the reference or not."""
    failure: Failure | None = None
    """Error that is the reason for the outcome; None where there is none."""
