"""Comparison of a task with its completion record: is there anything to do, and for what reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

WorkReason = Literal["missing output", "changed output", "changed input", "changed parameters", "forced", "no record"]
"""Reason for which a task runs."""
ReviewReason = Literal[WorkReason, "unusable", "nothing to do"]
"""Reason for which a task runs or does not run."""
WORK_REASONS: tuple[ReviewReason, ...] = get_args(WorkReason)
"""Reasons for which a task runs, the weightiest first."""


@dataclass(frozen=True, slots=True)
class Review:
    """Decision on a task of a single step: run, or keep its results."""

    why: ReviewReason
    """Reason, as one of a fixed set."""
    detail: str = ""
    """Reason, as a sentence."""
    facts: Mapping[str, object] | None = None
    """Result of the earlier execution, if it is kept."""
