"""Where the wheel was on the main clock: from encoder fronts, a counter channel, a Bpod's encoder, or an ALF file.

Whatever the source, a wheel is a list of times and angles. `motion` makes speed of it as the field does: 1 kHz by
linear interpolation, a Butterworth low pass of order 8 at 20 Hz run both ways, and differences.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ibl_dask.errors import MissingFile, UnequalLengths, UnusableFile
from ibl_dask.model.text import plain, read_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.nidq import Fronts

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

TICKS_PER_TURN = 1024
"""Ticks of the field's encoders in a turn; a DAQ counts the four edges of each (x4), a Bpod's module whole ticks."""
RATE_HZ = 1000.0
"""Rate at which the angle is interpolated, Hz; the reference's."""
CUTOFF_HZ = 20.0
FILTER_ORDER = 8

_X4 = 4
_COUNTER_TURN = 2**32
_TIMER_TURN_US = 2.0**32
_LONGEST_S = 2 * 86_400.0
"""Nobody records for longer; a span beyond it means damaged times, and would not fit into memory at 1 kHz."""
_FARTHEST_RAD = 1e6
"""Nobody's wheel turns farther: angles beyond it are damaged, and their differences would not be numbers."""
_LONGEST_NUMBER = 15
"""Digits of a time or a position in an encoder's file at most; more are damage, and no 64-bit number."""
_CLOSED_LOOP = 3
"""Number of the encoder's event at the start of a trial's closed loop."""
_PAIRED_S = 5e-3
"""Events of encoder and Bpod that are this close on one clock are the same; the reference's threshold."""
_IN_STEP = 0.3
"""Share of the intervals between trials that must agree: by chance a few in a hundred do, and one event lost halfway
leaves half of them."""
_MOST_LOST_EVENTS = 10
"""Trials by which the two lists of events may be shifted against each other."""
_RESET_S = 0.1
"""A reset is noted by the encoder within this of the state that asked for it, s."""
_JUMP_TICKS = 8
"""Without times of resets, a jump to zero from more than this is one: a mouse passes through every tick."""
_WHOLE_STAMP = 33
"""Characters of a whole wall-clock time in the older format; shorter ones are torn lines."""
_COPY_AGAIN = "copy the file again from the acquisition computer"


@dataclass(frozen=True, slots=True, eq=False)
class Wheel:
    """Where the wheel was, whenever it was noted."""

    times_s: Floats
    """When, s on the main clock, strictly increasing (sample,)."""
    position_rad: Floats
    """Angle, rad; counter-clockwise for the mouse is positive (sample,)."""
    source: str
    """What it was read from, in words."""
    notes: tuple[str, ...] = ()
    """What was mended or left out."""

    def __len__(self) -> int:
        return self.times_s.size


@dataclass(frozen=True, eq=False)
class Motion:
    """How fast the wheel turned, at an even rate."""

    start_s: float
    """Time of the first sample, s on the main clock."""
    velocity: Floats
    """rad/s (sample,)."""

    @cached_property
    def times_s(self) -> Floats:
        """Return the time of each sample, s. (sample,)"""
        return even_times(self.start_s, self.velocity.size)

    @property
    def stop_s(self) -> float:
        """Return the time of the last sample, s."""
        return self.start_s + (self.velocity.size - 1) / RATE_HZ

    @cached_property
    def acceleration(self) -> Floats:
        """Return differences of the velocity, rad/s², the first one zero. (sample,)"""
        return np.diff(self.velocity, prepend=self.velocity[0]) * RATE_HZ

    def speed_at(self, times_s: Floats) -> Floats:
        """Return the speed at some times, rad/s, never negative: zero where the wheel was not noted.

        An encoder notes changes alone: before its first and after its last the wheel stood.
        """
        return np.interp(times_s, self.times_s, np.abs(self.velocity), left=0.0, right=0.0)


def even_times(start_s: float, n: int) -> Floats:
    """Return times at the rate of interpolation, computed as the reference computes them (`arange`)."""
    return start_s + np.arange(n) / RATE_HZ


def motion(wheel: Wheel) -> Motion | None:
    """Return how fast the wheel turned; None where it was noted for too short a time to be filtered.

    Notes
    -----
    Interpolation, filter and differences are those of `brainbox.behavior.wheel`: `interpolate_position` and
    `velocity_filtered` at 1 kHz.
    """
    from scipy.signal import butter, sosfiltfilt

    if len(wheel) < 2:
        return None
    start, stop = float(wheel.times_s[0]), float(wheel.times_s[-1])
    n = int(np.ceil((stop - start) * RATE_HZ))
    times = even_times(start, n)
    times = times[times <= stop]
    sections = butter(FILTER_ORDER, 2 * CUTOFF_HZ / RATE_HZ, "lowpass", output="sos")
    if times.size <= 3 * (2 * len(sections) + 1):  # what the filter wants at both ends
        return None
    position = sosfiltfilt(sections, np.interp(times, wheel.times_s, wheel.position_rad))
    return Motion(start, np.diff(position, prepend=position[0]) * RATE_HZ)


# -- a DAQ -------------------------------------------------------------------------------------------------


def wheel_from_fronts(first: Fronts, second: Fronts) -> Wheel | None:
    """Decode the two channels of an encoder, every edge of both (x4); None where one of them never changes.

    Notes
    -----
    An edge goes one way or the other by the state of the other channel. Before that channel's first edge its state is
    the opposite of what the edge makes it (the reference takes the state after its last).
    """
    if not len(first) or not len(second):
        return None
    steps = np.concatenate(
        [first.polarities * _level_at(second, first.times_s), -second.polarities * _level_at(first, second.times_s)]
    )
    times = np.concatenate([first.times_s, second.times_s])
    order = np.argsort(times, kind="stable")
    position: Floats = -np.cumsum(steps[order], dtype=np.float64) * (2 * np.pi / (_X4 * TICKS_PER_TURN))
    return _wheel(times[order], position, "the encoder's two channels of the sync")


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
    return _wheel(fronts.times_s, position, "the encoder's counter in the sync", (note,))


def counts_from_counter(raw: NDArray[Any]) -> Ints:
    """Undo the wrap of a 32-bit counter, whatever the step across it. (sample,)

    The difference of two samples is meant modulo 2^32, and never half of that or more.

    >>> counts_from_counter(np.array([3.0, 1.0, 2.0**32 - 1, 2.0**32 - 4, 2.0])).tolist()
    [3, 1, -1, -4, 2]
    """
    whole = np.asarray(raw).astype(np.int64)
    steps = np.diff(whole)
    steps = (steps + _COUNTER_TURN // 2) % _COUNTER_TURN - _COUNTER_TURN // 2
    return np.concatenate([whole[:1], whole[:1] + np.cumsum(steps)])


def read_timeline_wheel(raw_path: Path, times_path: Path, meta_path: Path) -> Wheel | None:
    """Read the encoder's counter of a timeline recording; None where it has no such channel, or it never changes.

    Raises
    ------
    MissingFile, UnusableFile, UnequalLengths
        If a file is absent, is not what it should be, or they do not belong together.
    """
    column = _timeline_column(meta_path, "rotary_encoder")
    if column is None:
        return None
    raw = _load(raw_path, mmap=True)
    if raw.ndim != 2 or column >= raw.shape[1]:
        raise _odd(raw_path, f"one column per channel, at least {column + 1}", f"an array of shape {raw.shape}")
    counts = counts_from_counter(np.array(raw[:, column]))
    times = _expanded(_load(times_path), counts.size)
    if times.size != counts.size:
        raise _unequal(times_path, times.size, counts.size)
    at = np.flatnonzero(np.diff(counts)) + 1
    if not at.size:
        return None
    position = (counts[at] - counts[at[0]]) * (2 * np.pi / (_X4 * TICKS_PER_TURN))
    return _wheel(times[at], position, "the encoder's counter of timeline")


def _timeline_column(path: Path, channel: str) -> int | None:
    try:
        inputs = json.loads(read_text(path))["inputs"]
        columns = [int(each["arrayColumn"]) for each in inputs if str(each["name"]).lower() == channel]
    except FileNotFoundError as error:
        raise MissingFile("timeline's meta file is not there", str(path), do=_COPY_AGAIN) from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        told = f"{type(error).__name__}: {error}"
        raise _odd(path, "JSON with `inputs`, each with name and arrayColumn", told) from error
    if columns and columns[0] < 1:
        raise _odd(path, "an arrayColumn from 1 on", str(columns[0]))
    return columns[0] - 1 if columns else None


# -- an ALF file -------------------------------------------------------------------------------------------


def read_alf_wheel(times_path: Path, position_path: Path) -> Wheel:
    """Read a wheel that somebody extracted; its times may be one per sample, or sample numbers and times.

    Raises
    ------
    MissingFile, UnusableFile, UnequalLengths
        If a file is absent or no array of numbers, or there are not as many times as angles.
    """
    position = _load(position_path).ravel()
    times = _expanded(_load(times_path), position.size)
    if times.size != position.size:
        raise _unequal(times_path, times.size, position.size)
    return _wheel(times, position, times_path.name)


# -- a Bpod ------------------------------------------------------------------------------------------------


def read_bpod_wheel(positions_path: Path, events_path: Path, trials_path: Path) -> Wheel:
    """Read what the encoder's module of a training rig noted, on the clock of the Bpod.

    Parameters
    ----------
    positions_path, events_path
        `_iblrig_encoderPositions.raw.ssv` and `_iblrig_encoderEvents.raw.ssv`, of any version of the rig.
    trials_path
        The trials: the starts of their closed loops tie the two clocks together.

    Raises
    ------
    MissingFile, UnusableFile
        If a file is absent or holds nothing usable, or the clocks cannot be tied together.

    Notes
    -----
    The module sets its angle to zero at states of each trial, and says so with a zero: that step is no movement.
    Where its firmware notes ms instead of us, the ratio of the two clocks tells.
    """
    loops, resets = _trial_times(trials_path)
    event_us, codes, event_notes = _read_encoder(events_path, (1, 3), 5, "StateMachine")
    noted = event_us[codes == _CLOSED_LOOP]
    clock_us, clock_s = _tie(noted, loops, events_path)
    position_us, ticks, notes = _read_encoder(positions_path, (1, 2), 4, "Position")
    times = _through(position_us, clock_us, clock_s)
    steps = np.diff(ticks)
    steps = (steps + TICKS_PER_TURN // 2) % TICKS_PER_TURN - TICKS_PER_TURN // 2
    steps[_is_reset(times, ticks, resets)] = 0
    position = -np.concatenate([[0], np.cumsum(steps)]) * (2 * np.pi / TICKS_PER_TURN)
    return _wheel(times, position, positions_path.name, (*event_notes, *notes))


def _is_reset(times_s: Floats, ticks: Ints, resets_s: Floats) -> NDArray[np.bool_]:
    """Return which steps between samples lead to a zero that the Bpod asked for. (sample - 1,)

    Each reset claims the sample at zero (or one tick beside it) that is closest to it, within a tenth of a second.
    """
    out = np.zeros(ticks.size - 1, np.bool_)
    zeros = np.flatnonzero(np.abs(ticks[1:]) <= 1)
    if not zeros.size:
        return out
    if not resets_s.size:
        exact = zeros[ticks[1:][zeros] == 0]
        out[exact[np.abs(ticks[exact]) > _JUMP_TICKS]] = True
        return out
    at = times_s[1:][zeros]
    after = np.searchsorted(at, resets_s)
    candidates = np.stack([np.clip(after - 1, 0, at.size - 1), np.clip(after, 0, at.size - 1)])
    off = np.abs(at[candidates] - resets_s)
    best = candidates[np.argmin(off, axis=0), np.arange(resets_s.size)]
    out[zeros[best[off.min(axis=0) < _RESET_S]]] = True
    return out


def _trial_times(path: Path) -> tuple[Floats, Floats]:
    """Return when closed loops began, one per trial, and when the encoder was to be reset, s since the Bpod's start."""
    try:
        lines = plain(path.read_bytes()).split(b"\n")
    except FileNotFoundError as error:
        raise MissingFile("the Bpod's trials are not there", str(path), do=_COPY_AGAIN) from error
    loops: list[float] = []
    resets: list[float] = []
    for line in filter(None, map(bytes.strip, lines)):
        try:
            data = json.loads(line)["behavior_data"]
            start = float(data["Trial start timestamp"]) - float(data["Bpod start timestamp"])
            states = data["States timestamps"]
            loops.append(start + float(states["closed_loop"][0][0]))
            names = ("reset_rotary_encoder", "reset2_rotary_encoder")
            resets += [start + float(begin) for name in names for begin, _ in states.get(name, ())]
        except (ValueError, KeyError, TypeError, IndexError):
            continue  # a torn line, or a trial without closed loop: the other trials tie the clocks
    found, asked = np.array(loops), np.array(resets)
    return found[np.isfinite(found)], np.sort(asked[np.isfinite(asked)])


def _tie(noted_us: Floats, loops_s: Floats, path: Path) -> tuple[Floats, Floats]:
    """Return times of the encoder's module, in its own units, and what they are on the Bpod's clock, s; in order.

    Which event is which trial's is the shift of the two lists against each other at which most intervals agree.
    """
    best: tuple[int, Floats, Floats] = (0, np.empty(0), np.empty(0))
    for scale in (1e-6, 1e-3):
        seconds = noted_us * scale
        for shift in range(-_MOST_LOST_EVENTS, _MOST_LOST_EVENTS + 1):
            ours, theirs = seconds[max(0, -shift) :], loops_s[max(0, shift) :]
            n = min(ours.size, theirs.size)
            if n < 2:
                continue
            steps = np.diff(ours[:n])
            agree = (np.abs(steps - np.diff(theirs[:n])) < _PAIRED_S) & (steps > 0)
            if agree.sum() > best[0]:
                good = np.concatenate([[False], agree]) | np.concatenate([agree, [False]])
                best = (int(agree.sum()), (ours[:n] / scale)[good], theirs[:n][good])
    if best[0] <= _IN_STEP * max(0, min(noted_us.size, loops_s.size) - 1):
        raise UnusableFile(
            "the encoder's clock cannot be tied to the Bpod's",
            str(path),
            f"an event 3 at the start of each trial's closed loop, over {_IN_STEP:.0%} of the trials in step",
            f"{noted_us.size:,} events 3, {loops_s.size:,} closed loops, {best[0]:,} in step",
            "see whether encoder and trials are of the same session; the wheel is not used otherwise",
        )
    return best[1], best[2]


def _through(times: Floats, known: Floats, known_s: Floats) -> Floats:
    """Take times to another clock by matched pairs: straight between them, and on at the mean rate beyond them."""
    rate = (known_s[-1] - known_s[0]) / (known[-1] - known[0])
    out = np.interp(times, known, known_s)
    out = np.where(times < known[0], known_s[0] + (times - known[0]) * rate, out)
    return np.where(times > known[-1], known_s[-1] + (times - known[-1]) * rate, out)


def _read_encoder(path: Path, columns: tuple[int, int], width: int, word: str) -> tuple[Floats, Ints, tuple[str, ...]]:
    """Return times (us, unwrapped) and values of an encoder's file, in order of time, and what was left out.

    Parameters
    ----------
    path
        The file: `time value` in each line, or in rigs before 5.0.0 words and a wall-clock time as well.
    columns, width
        Where time and value stand in the older format, and how many words a whole line of it has.
    word
        What every line of the older format holds.
    """
    try:
        content = plain(path.read_bytes()).decode("ascii", errors="replace")
    except FileNotFoundError as error:
        raise MissingFile("the encoder's file is not there", str(path), do=_COPY_AGAIN) from error
    lines = content.splitlines()
    if lines and word in lines[0]:
        rows = [line.split() for line in lines]
        rows = [
            [row[columns[0]], row[columns[1]]] for row in rows if len(row) == width and len(row[-1]) == _WHOLE_STAMP
        ]
    else:
        rows = [row for row in map(str.split, lines) if len(row) == 2]
    numbers = [(float(t), int(v)) for t, v in rows if _is_whole(t) and _is_whole(v)]
    if len(numbers) < 2:
        raise _odd(path, "a time and a value in each line", f"{len(lines):,} lines, {len(numbers):,} of them usable")
    times = np.array([t for t, _ in numbers])
    values = np.array([v for _, v in numbers], np.int64)
    notes = []
    if len(numbers) < len(lines):
        notes.append(f"{len(lines) - len(numbers):,} lines of {path.name} are damaged and were left out")
    steps = np.diff(times)
    early = np.flatnonzero((steps[:2] < 0) & (steps[:2] > -_TIMER_TURN_US * 0.87))
    if early.size:  # what the module sends first may still be of the session before
        times, values = times[early[-1] + 1 :], values[early[-1] + 1 :]
        notes.append(f"the first {int(early[-1]) + 1} lines of {path.name} are of another time and were left out")
    wraps = np.cumsum(np.diff(times, prepend=times[0]) < -_TIMER_TURN_US / 2)
    times = times + wraps * _TIMER_TURN_US
    order = np.argsort(times, kind="stable")
    return times[order], values[order], tuple(notes)


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and len(text) <= _LONGEST_NUMBER


# -- any of them -------------------------------------------------------------------------------------------


def _wheel(times_s: Floats, position_rad: Floats, source: str, notes: Sequence[str] = ()) -> Wheel:
    """Return a wheel with one angle per time, the last noted, and times in order.

    Raises
    ------
    UnusableFile
        If the times span more than any recording.
    """
    known = np.isfinite(times_s) & (np.abs(position_rad) < _FARTHEST_RAD)
    times, position = times_s[known], position_rad[known]
    if times.size and times.max() - times.min() > _LONGEST_S:
        raise UnusableFile(
            "the times of the wheel make no sense",
            source,
            f"a span of at most {_LONGEST_S:,.0f} s",
            f"{times.min():g} s to {times.max():g} s",
            _COPY_AGAIN,
        )
    order = np.argsort(times, kind="stable")[::-1]
    unique, last = np.unique(times[order], return_index=True)
    return Wheel(unique, position[order][last], source, tuple(notes))


def _load(path: Path, *, mmap: bool = False) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except FileNotFoundError as error:
        raise MissingFile("a file of the wheel is not there", str(path), do=_COPY_AGAIN) from error
    except (ValueError, EOFError) as error:
        raise _odd(path, "a .npy file of numbers", str(error)) from error
    if values.dtype.kind not in "biuf":
        raise _odd(path, "a .npy file of numbers", f"values of type {values.dtype}")
    return values if mmap else values.astype(np.float64)


def _expanded(times: Floats, n: int) -> Floats:
    """Return one time per sample, from that or from rows of sample number and time."""
    if times.ndim == 2 and times.shape[1] == 2 and times.shape[0] not in (0, n):
        return np.interp(np.arange(n), times[:, 0], times[:, 1])
    return times[:, -1] if times.ndim == 2 else times.ravel()


def _odd(path: Path, expected: str, got: str) -> UnusableFile:
    return UnusableFile("this file says nothing of the wheel", str(path), expected, got, _COPY_AGAIN)


def _unequal(path: Path, n_times: int, n_values: int) -> UnequalLengths:
    return UnequalLengths(
        "the wheel has not as many times as angles", str(path), f"{n_values:,} times", f"{n_times:,}", _COPY_AGAIN
    )
