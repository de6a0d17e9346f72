"""Wheel of a training rig: positions and events of the encoder's module of a Bpod.

The module has a clock of its own, which the closed loops of the trials tie to the Bpod's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingFile, UnusableFile
from ibl_dask.model.text import plain
from ibl_dask.timing.wheel.trace import COPY_AGAIN, TICKS_PER_TURN, ordered_wheel, unusable_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.timing.wheel.trace import Wheel

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


_TIMER_TURN_US = 2.0**32
"""Range of the module's timer, us: 71.6 minutes."""
_LONGEST_NUMBER = 15
"""Most digits of a time or a position; more are damage, and no 64-bit number."""
_CLOSED_LOOP = 3
"""Event of the encoder at the start of a trial's closed loop."""
_PAIRED_S = 5e-3
"""Largest difference between intervals of the same events of encoder and Bpod, s: the reference's threshold."""
_IN_STEP = 0.3
"""Share of the intervals between trials that must agree: by chance a few in a hundred do, and one event lost halfway
leaves half of them."""
_MOST_LOST_EVENTS = 10
"""Trials by which the two lists of events may be shifted against each other."""
_RESET_S = 0.1
"""Longest time between the state that asks for a reset and the encoder's note of it, s."""
_JUMP_TICKS = 8
"""Ticks from which a jump to zero is a reset where times of resets are not known: a mouse passes through every tick."""
_WHOLE_STAMP = 33
"""Characters of a whole wall-clock time in the older format; shorter ones are torn lines."""


def read_bpod_wheel(positions_path: Path, events_path: Path, trials_path: Path) -> Wheel:
    """Read the wheel of a training rig on the clock of the Bpod.

    Parameters
    ----------
    positions_path, events_path : Path
        `_iblrig_encoderPositions.raw.ssv` and `_iblrig_encoderEvents.raw.ssv`, of any version of the rig.
    trials_path : Path
        The trials: the starts of their closed loops tie the two clocks together.

    Raises
    ------
    MissingFile, UnusableFile
        If a file is absent or holds nothing usable, or the clocks cannot be tied together.

    Notes
    -----
    The module sets its angle to zero at states of each trial, and notes a zero then: that step is no movement. Some
    firmware notes ms instead of us; both are tried.
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
    return ordered_wheel(times, position, positions_path.name, (*event_notes, *notes))


def _is_reset(times_s: Floats, ticks: Ints, resets_s: Floats) -> NDArray[np.bool_]:
    """Return True for steps between samples that lead to a zero which the Bpod asked for. (sample - 1,)

    Each reset takes the sample at zero (or one tick beside it) that is nearest to it, within a tenth of a second.

    Parameters
    ----------
    times_s : ndarray of float
        Times of the samples on the Bpod's clock, s (sample,).
    ticks : ndarray of int
        Positions as noted (sample,).
    resets_s : ndarray of float
        Times of the states that ask for a reset, s (reset,).
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
    """Return the starts of closed loops, one per trial, and of resets of the encoder, s since the Bpod's start."""
    try:
        lines = plain(path.read_bytes()).split(b"\n")
    except FileNotFoundError as error:
        raise MissingFile("the Bpod's trials are not there", str(path), do=COPY_AGAIN) from error
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
    starts, requests = np.array(loops), np.array(resets)
    return starts[np.isfinite(starts)], np.sort(requests[np.isfinite(requests)])


def _tie(noted_us: Floats, loops_s: Floats, path: Path) -> tuple[Floats, Floats]:
    """Return the same moments on two clocks: the encoder's, in its own units, and the Bpod's, s.

    Events are matched to trials by the shift of the two lists against each other at which most intervals agree.

    Parameters
    ----------
    noted_us : ndarray of float
        Events of closed loops on the encoder's clock, us or ms (event,).
    loops_s : ndarray of float
        Starts of closed loops on the Bpod's clock, s (trial,).
    path : Path
        File of the events, for messages.

    Returns
    -------
    tuple of ndarray
        Both in order of time (match,).

    Raises
    ------
    UnusableFile
        If under 30 % of the intervals agree.
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
    """Convert times to another clock by matched pairs: linearly between them, at the mean rate beyond them.

    Parameters
    ----------
    times : ndarray of float
        Times on the first clock (sample,).
    known, known_s : ndarray of float
        The same moments on the first clock, increasing, and on the other, s (match,).
    """
    rate = (known_s[-1] - known_s[0]) / (known[-1] - known[0])
    out = np.interp(times, known, known_s)
    out = np.where(times < known[0], known_s[0] + (times - known[0]) * rate, out)
    return np.where(times > known[-1], known_s[-1] + (times - known[-1]) * rate, out)


def _read_encoder(path: Path, columns: tuple[int, int], width: int, word: str) -> tuple[Floats, Ints, tuple[str, ...]]:
    """Read a file of the encoder's module.

    Parameters
    ----------
    path : Path
        The file: `time value` in each line, or in rigs before 5.0.0 words and a wall-clock time as well.
    columns, width : tuple of int, int
        Columns of time and value in the older format, and words in a whole line of it.
    word : str
        Word that every line of the older format holds.

    Returns
    -------
    tuple
        Times, us, unwrapped, in order (sample,); values (sample,); remarks on omitted lines.
    """
    try:
        content = plain(path.read_bytes()).decode("ascii", errors="replace")
    except FileNotFoundError as error:
        raise MissingFile("the encoder's file is not there", str(path), do=COPY_AGAIN) from error
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
        raise unusable_file(
            path, "a time and a value in each line", f"{len(lines):,} lines, {len(numbers):,} of them usable"
        )
    times = np.array([t for t, _ in numbers])
    values = np.array([v for _, v in numbers], np.int64)
    notes = []
    if len(numbers) < len(lines):
        notes.append(f"{len(lines) - len(numbers):,} lines of {path.name} are damaged and were left out")
    steps = np.diff(times)
    early = np.flatnonzero((steps[:2] < 0) & (steps[:2] > -_TIMER_TURN_US * 0.87))
    if early.size:  # the first lines may still be of the session before
        times, values = times[early[-1] + 1 :], values[early[-1] + 1 :]
        notes.append(f"the first {int(early[-1]) + 1} lines of {path.name} are of another time and were left out")
    # A fall by more than half the range is a wrap of the timer; smaller ones are lines out of order, sorted below.
    wraps = np.cumsum(np.diff(times, prepend=times[0]) < -_TIMER_TURN_US / 2)
    times = times + wraps * _TIMER_TURN_US
    order = np.argsort(times, kind="stable")
    return times[order], values[order], tuple(notes)


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and len(text) <= _LONGEST_NUMBER
