"""Batches of frames with their halo: what is given to a network at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive frames of a call, and those of them that get rows."""

    start: int
    """First frame given, in the frames of the call."""
    stop: int
    """One past the last frame given."""
    before: int
    """Number of frames at the start that are halo."""
    after: int
    """Number of frames at the end that are halo."""

    @property
    def n_rows(self) -> int:
        """Return the number of frames that get rows."""
        return self.stop - self.start - self.before - self.after


def batch_at(first_row: int, n_rows: int, n_frames: int, before: int, after: int, halo: int) -> Batch:
    """Return the batch of the rows from `first_row` on, with as much halo as there is, `halo` at most.

    A batch lacks halo only where the call itself does: where the video begins or ends.

    Parameters
    ----------
    first_row, n_rows : int
        First row of the batch, and largest number of rows.
    n_frames, before, after : int
        Number of frames of the call, and how many of them at its start and end are halo.
    halo : int
        See `EngineInfo.halo`.

    >>> batch_at(0, 4, 12, before=0, after=2, halo=2)
    Batch(start=0, stop=6, before=0, after=2)
    >>> batch_at(8, 4, 12, before=0, after=2, halo=2)
    Batch(start=6, stop=12, before=2, after=2)
    """
    first = before + first_row
    last = min(first + n_rows, n_frames - after)
    start, stop = max(0, first - halo), min(n_frames, last + halo)
    return Batch(start, stop, first - start, stop - last)


def halved(batch: int) -> int | None:
    """Return the size of a batch to try after one that did not fit into memory; None if there is no smaller one."""
    return batch // 2 if batch > 1 else None
