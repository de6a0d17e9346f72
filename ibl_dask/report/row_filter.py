"""Selection of sessions by state, category, camera and task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from ibl_dask.errors import CATEGORIES, UsageError
from ibl_dask.report.failure_groups import FailureGroup, cameras_of
from ibl_dask.report.session_rows import SessionRow
from ibl_dask.store.run_progress import SessionState

STATES: tuple[SessionState, ...] = get_args(SessionState)
_GOOD = ("PASS", "NOT_SET")
_SUCCESSES = ("Complete", "Empty")


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Conditions that a session must meet together; an empty one is met by all."""

    states: tuple[str, ...] = ()
    """States of the session."""
    categories: tuple[str, ...] = ()
    """Categories of its failures and waits."""
    cameras: tuple[str, ...] = ()
    """Cameras that a failure concerns, or whose checks are worse than PASS."""
    tasks: tuple[str, ...] = ()
    """Tasks that are not complete."""

    @classmethod
    def of_options(
        cls, states: str | None, categories: str | None, cameras: str | None, tasks: str | None
    ) -> RowFilter:
        """Return the filter of options of the command line, each with values separated by commas.

        Raises
        ------
        UsageError
            If a state or category does not exist.
        """
        chosen = cls(*map(_split, (states, categories, cameras, tasks)))
        _insist("--state", chosen.states, STATES)
        _insist("--category", chosen.categories, CATEGORIES)
        return chosen

    @property
    def is_empty(self) -> bool:
        """Return whether every session meets it."""
        return not (self.states or self.categories or self.cameras or self.tasks)

    def takes(self, row: SessionRow) -> bool:
        """Return whether a session meets all conditions."""
        failures = [*(row.get("failures") or ()), *(row.get("waiting") or {}).values(), *(row.get("delays") or ())]
        if self.states and str(row.get("state") or "waiting") not in self.states:
            return False
        if self.categories and not any(failure.category in self.categories for failure in failures):
            return False
        if self.cameras:
            named = {label for failure in failures for label in cameras_of(failure)}
            named |= {label for label, outcome in (row.get("qc") or {}).items() if outcome not in _GOOD}
            if named.isdisjoint(self.cameras):
                return False
        tasks = {name for name, status in (row.get("tasks") or {}).items() if str(status) not in _SUCCESSES}
        return not self.tasks or not tasks.isdisjoint(self.tasks)

    def groups(self, groups: Iterable[FailureGroup]) -> list[FailureGroup]:
        """Return the groups of failures that the filter asks for."""
        return [
            group
            for group in groups
            if (not self.categories or group.category in self.categories)
            and (not self.cameras or not group.cameras or not set(group.cameras).isdisjoint(self.cameras))
            and (not self.tasks or not group.tasks or not set(group.tasks).isdisjoint(self.tasks))
        ]

    def text(self) -> str:
        """Return the conditions as a phrase; empty without any."""
        named = (("state", self.states), ("category", self.categories), ("camera", self.cameras), ("task", self.tasks))
        return ", ".join(f"{name} {' or '.join(values)}" for name, values in named if values)


def _split(option: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (option or "").split(",") if part.strip())


def _insist(option: str, values: Sequence[str], known: Sequence[str]) -> None:
    unknown = [value for value in values if value not in known]
    if unknown:
        raise UsageError(
            f"{option} {', '.join(unknown)} does not exist",
            expected=", ".join(known),
            got=", ".join(unknown),
            do="name one of these, or several separated by commas",
        )
