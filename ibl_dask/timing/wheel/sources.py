"""Wheels of DAQ and timeline recordings, and of ALF files.

A DAQ has the two channels of the encoder, or a counter of their edges; timeline has the counter.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingFile, UnequalLengths
from ibl_dask.model.text import read_text
from ibl_dask.timing.wheel.trace import COPY_AGAIN, TICKS_PER_TURN, ordered_wheel, unusable_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.nidq import Fronts
    from ibl_dask.timing.wheel.trace import Wheel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Numbers = NDArray[np.number]


_X4 = 4
"""Edges in a tick: two channels rise and fall."""
_COUNTER_TURN = 2**32
"""Range of the counter of a DAQ."""


def wheel_from_fronts(first: Fronts, second: Fronts) -> Wheel | None:
    """Decode the two channels of an encoder, every edge of both (x4); None where one of them never changes.

    Notes
    -----
    An edge goes one way or the other by the state of the other channel. Before that channel's first edge its state is
    the opposite of the one after it (the reference takes the state after its last).
    """
    if not len(first) or not len(second):
        return None
    steps = np.concatenate(
        [first.polarities * _level_at(second, first.times_s), -second.polarities * _level_at(first, second.times_s)]
    )
    times = np.concatenate([first.times_s, second.times_s])
    order = np.argsort(times, kind="stable")
    position: Floats = -np.cumsum(steps[order], dtype=np.float64) * (2 * np.pi / (_X4 * TICKS_PER_TURN))
    return ordered_wheel(times[order], position, "the encoder's two channels of the sync")


def _level_at(fronts: Fronts, times_s: Floats) -> NDArray[np.int8]:
    """Return +1 where a line is high just before some times, -1 where it is low."""
    levels = np.concatenate([-fronts.polarities[:1], fronts.polarities])
    return levels[np.searchsorted(fronts.times_s, times_s)]


def wheel_from_steps(fronts: Fronts) -> Wheel | None:
    """Add up the steps of a counter channel of which only times and directions were kept.

    Several counts between two samples are one front there: angles come out too small, times stay right.
    """
    if not len(fronts):
        return None
    position: Floats = np.cumsum(fronts.polarities, dtype=np.float64) * (2 * np.pi / (_X4 * TICKS_PER_TURN))
    note = "of the encoder's counter only directions were kept: its speed may be too low, not its timing"
    return ordered_wheel(fronts.times_s, position, "the encoder's counter in the sync", (note,))


def counts_from_counter(raw: Numbers) -> Ints:
    """Undo the wrap of a 32-bit counter. (sample,)

    The difference of two samples is known modulo 2^32 only; it is taken from -2^31 up to 2^31, exclusive.

    >>> counts_from_counter(np.array([3.0, 1.0, 2.0**32 - 1, 2.0**32 - 4, 2.0])).tolist()
    [3, 1, -1, -4, 2]
    """
    whole = np.asarray(raw).astype(np.int64)
    steps = np.diff(whole)
    steps = (steps + _COUNTER_TURN // 2) % _COUNTER_TURN - _COUNTER_TURN // 2
    return np.concatenate([whole[:1], whole[:1] + np.cumsum(steps)])


def read_timeline_wheel(raw_path: Path, times_path: Path, meta_path: Path) -> Wheel | None:
    """Read the encoder's counter of a timeline recording; None where it has no such channel, or it never changes.

    Parameters
    ----------
    raw_path, times_path, meta_path : Path
        `_timeline_DAQdata.raw.npy` (sample, input), `_timeline_DAQdata.timestamps.npy`, `_timeline_DAQdata.meta.json`.

    Raises
    ------
    MissingFile, UnusableFile, UnequalLengths
        If a file is absent or has another form, or they do not belong together.
    """
    column = _timeline_column(meta_path, "rotary_encoder")
    if column is None:
        return None
    raw = _open(raw_path, mmap=True)
    if raw.ndim != 2 or column >= raw.shape[1]:
        raise unusable_file(
            raw_path, f"one column per channel, at least {column + 1}", f"an array of shape {raw.shape}"
        )
    counts = counts_from_counter(np.array(raw[:, column]))
    times = _expanded(_load(times_path), counts.size)
    if times.size != counts.size:
        raise _unequal(times_path, times.size, counts.size)
    at = np.flatnonzero(np.diff(counts)) + 1
    if not at.size:
        return None
    position = (counts[at] - counts[at[0]]) * (2 * np.pi / (_X4 * TICKS_PER_TURN))
    return ordered_wheel(times[at], position, "the encoder's counter of timeline")


def _timeline_column(path: Path, channel: str) -> int | None:
    """Return the column of a channel, from 0; None where it was not recorded. MATLAB counts from 1."""
    try:
        inputs = json.loads(read_text(path))["inputs"]
        columns = [int(each["arrayColumn"]) for each in inputs if str(each["name"]).lower() == channel]
    except FileNotFoundError as error:
        raise MissingFile("timeline's meta file is not there", str(path), do=COPY_AGAIN) from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise unusable_file(path, "JSON with `inputs`, each with name and arrayColumn", cause) from error
    if columns and columns[0] < 1:
        raise unusable_file(path, "an arrayColumn from 1 on", str(columns[0]))
    return columns[0] - 1 if columns else None


def read_alf_wheel(times_path: Path, position_path: Path) -> Wheel:
    """Read an extracted wheel; its times may be one per sample, or rows of sample number and time.

    Raises
    ------
    MissingFile, UnusableFile, UnequalLengths
        If a file is absent or no array of numbers, or there are not as many times as angles.
    """
    position = _load(position_path).ravel()
    times = _expanded(_load(times_path), position.size)
    if times.size != position.size:
        raise _unequal(times_path, times.size, position.size)
    return ordered_wheel(times, position, times_path.name)


def _load(path: Path) -> Floats:
    return _open(path).astype(np.float64)


def _open(path: Path, *, mmap: bool = False) -> Numbers:
    """Open an array of numbers of any type, in memory or mapped."""
    try:
        values: Numbers = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except FileNotFoundError as error:
        raise MissingFile("a file of the wheel is not there", str(path), do=COPY_AGAIN) from error
    except (ValueError, EOFError) as error:
        raise unusable_file(path, "a .npy file of numbers", str(error)) from error
    if values.dtype.kind not in "biuf":
        raise unusable_file(path, "a .npy file of numbers", f"values of type {values.dtype}")
    return values


def _expanded(times: Floats, n: int) -> Floats:
    """Return one time per sample, from an array of them or from rows of sample number and time. (sample,)"""
    if times.ndim == 2 and times.shape[1] == 2 and times.shape[0] not in (0, n):
        return np.interp(np.arange(n), times[:, 0], times[:, 1])
    return times[:, -1] if times.ndim == 2 else times.ravel()


def _unequal(path: Path, n_times: int, n_values: int) -> UnequalLengths:
    return UnequalLengths(
        "the wheel has not as many times as angles", str(path), f"{n_values:,} times", f"{n_times:,}", COPY_AGAIN
    )
