"""States of tasks."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Task states with the names Alyx knows."""

    WAITING = "Waiting"
    HELD = "Held"
    STARTED = "Started"
    ERRORED = "Errored"
    ABANDONED = "Abandoned"
    EMPTY = "Empty"
    INCOMPLETE = "Incomplete"
    COMPLETE = "Complete"

    @property
    def code(self) -> int:
        """Return the code that `Task.run()` returns: 0 done, -1 error, -2 to be tried again, -3 incomplete."""
        return {"Complete": 0, "Empty": 0, "Incomplete": -3, "Errored": -1, "Abandoned": -1}.get(self, -2)

    @property
    def is_success(self) -> bool:
        """Return whether the task is complete, or empty as it should be."""
        return self in (Status.COMPLETE, Status.EMPTY)
