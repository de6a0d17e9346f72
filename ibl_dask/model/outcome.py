"""How a check came out, in the vocabulary and order the field uses."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from ibl_dask.model.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Number = float | int | None
"""A number beside an outcome; None where it could not be computed."""


class Outcome(IntEnum):
    """Outcomes with the values of `one.alf.spec.QC`; a larger one is worse."""

    NOT_SET = 0
    PASS = 10
    WARNING = 30
    FAIL = 40
    CRITICAL = 50

    @staticmethod
    def worst(outcomes: Iterable[Outcome]) -> Outcome:
        """Return the worst of some outcomes; NOT_SET where there is none.

        >>> Outcome.worst([Outcome.PASS, Outcome.NOT_SET, Outcome.WARNING]).name
        'WARNING'
        """
        return max(outcomes, default=Outcome.NOT_SET)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found."""

    name: str
    """Name of the check, as in the extended QC key `_video{Label}_{name}`."""
    outcome: Outcome
    """The judgement."""
    numbers: tuple[Number, ...] = ()
    """Numbers the reference publishes beside the outcome, in its order."""
    measured: str = ""
    """What was measured, in words with units."""
    threshold: str = ""
    """What it was compared with."""
    message: str = ""
    """Why the outcome is what it is, where the numbers do not say it."""
    values: Mapping[str, Number] = field(default_factory=dict, hash=False)
    """Every number that was looked at, by a name with its unit; whether the reference publishes it or not."""
    failure: Failure | None = None
    """Error that is the reason for the outcome; None where there is none."""
