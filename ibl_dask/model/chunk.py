"""Ranges of frames that one step decodes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Chunk:
    """A range of frames that one step decodes from one keyframe."""

    start: int
    """First frame kept (presentation order, 0-based)."""
    stop: int
    """One past the last frame kept."""

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"a chunk needs 0 <= start < stop, got [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start
