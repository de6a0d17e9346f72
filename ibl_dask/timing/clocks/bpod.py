"""Clock of a training rig: camera pulses and sync TTLs that a Bpod noted during its trials, with gaps in between.

A training rig has no DAQ: the camera's strobe goes to port 1 of the Bpod, the sound's TTL to its input BNC2. The file
of trials holds one JSON object per line and trial, with event times in s since the trial's own start, in steps of
100 us. The Bpod's clock of a session starts with the Bpod: event + trial start - Bpod start.

Exposures between trials are inserted. Between two trials the camera went on, so the gap holds as many exposures as
periods, and its distance from a whole number of them shows how sure that is. Before the first trial and after the last
the camera ran alone; frames there are extrapolated, for a limited time (`alignment.clock_policy.BPOD`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ibl_dask.errors import MissingFile, NoPulses, UnusableFile
from ibl_dask.model.text import plain
from ibl_dask.timing.clocks.nidq import Fronts
from ibl_dask.timing.clocks.pulses import Gap, Pulses, fill_gaps, typical_period_s

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

TRIALS_FILE = "_iblrig_taskData.raw.jsonable"
CAMERA_EVENTS = ("Port1In", "Port1Out")
"""Rise and fall of the camera's strobe: the rigs wire their one camera to port 1."""
TTL_EVENTS = ("BNC2High", "BNC2Low")
"""Rise and fall of the sound's TTL, which is also wired to the camera's pin 4."""
DOUBLE_TTL_S = 5e-3
"""Dips of the TTL shorter than this are bridged, s: the go cue of some sound cards is two pulses 3 ms apart, and no
camera sees the dip between them. The reference's threshold."""

_COPY_AGAIN = "copy the file again from the acquisition computer"
_LONGEST_SESSION_S = 86_400.0
"""Longest possible session, s."""
_FASTEST_HZ = 500.0
"""Rate that no camera of these rigs reaches, by far, Hz."""
_DOUBLE = 0.5
"""Fraction of a period within which a pulse after another of its trial cannot be an exposure."""
_UNEVEN = 0.1
"""Distance from a whole number of periods from which a gap is reported, periods. Gaps of two real sessions are within
0.004; at 0.5 both numbers would be equally likely."""
_MOST_NAMED = 5
"""Gaps and trials that a note names one by one."""
_WATCHED_PERIODS = 2.0
"""Silence of the line within a trial from which the camera had not started yet, periods."""


@dataclass(frozen=True, slots=True, eq=False)
class BpodEvents:
    """Events of all trials that time a camera."""

    camera: Fronts
    """Rises and falls of the camera's strobe, s since the start of the Bpod."""
    ttl: Fronts
    """Rises and falls of the sound's TTL, s since the start of the Bpod, double pulses fused."""
    rise_lines: IntArray
    """Line of the file, from 1, of each rise of the strobe (rise,)."""
    trial_starts_s: FloatArray
    """Start of each trial, s since the start of the Bpod (trial,)."""
    trial_lines: IntArray
    """Line of the file of each trial, from 1 (trial,)."""
    notes: tuple[str, ...] = ()
    """Remarks on omitted lines and events, for the user."""


def read_bpod(path: Path) -> BpodEvents:
    """Read the trials of a Bpod.

    A trial without events adds none. A last line that is cut off belongs to a rig that died while it wrote: it is left
    out, with a note.

    Raises
    ------
    MissingFile
        If there is no such file.
    UnusableFile
        If it holds no whole trial; another line than the last is no JSON object, or any lacks a field of a trial;
        trials or pulses run backwards in time.
    """
    trials, notes = _read_trials(path)
    starts = np.array([start for _, start, _ in trials])
    lines = np.array([line for line, _, _ in trials], dtype=np.int64)
    _require_order(starts, lines, path, "a trial does not start after the one before")
    strobe = [_Events(name, trials, path) for name in CAMERA_EVENTS]
    ttl = [_Events(name, trials, path) for name in TTL_EVENTS]
    _require_order(strobe[0].times_s, strobe[0].lines, path, "a camera pulse does not come after the one before")
    silent = np.setdiff1d(lines, strobe[0].lines)
    if silent.size:
        notes.append(f"{silent.size:,} of {lines.size:,} trials hold no camera pulse: lines {_format_lines(silent)}")
    n_dropped = sum(events.n_dropped for events in (*strobe, *ttl))
    if n_dropped:
        notes.append(f"{n_dropped:,} events without a time were left out")
    return BpodEvents(
        _fronts(*strobe),
        fuse_doubles(_fronts(*ttl)),
        strobe[0].lines,
        starts,
        lines,
        tuple(notes),
    )


def fuse_doubles(fronts: Fronts, shortest_s: float = DOUBLE_TTL_S) -> Fronts:
    """Bridge short dips: leave out every fall that a rise follows within a time, and that rise.

    Fronts are removed in pairs of opposite polarity, so that those left keep their alternation.

    Parameters
    ----------
    fronts : Fronts
        In order of time.
    shortest_s : float
        Dips shorter than this are bridged, s.
    """
    dips = (fronts.polarities[:-1] < 0) & (fronts.polarities[1:] > 0) & (np.diff(fronts.times_s) < shortest_s)
    keep = np.ones(len(fronts), np.bool_)
    keep[:-1][dips] = False
    keep[1:][dips] = False
    return Fronts(fronts.times_s[keep], fronts.polarities[keep])


def bpod_pulses(events: BpodEvents, *, where: str = "") -> Pulses:
    """Return one pulse per exposure, from the first that was noted to the last: gaps between trials are filled.

    A gap is filled with as many pulses as fit at the usual period, never fewer than none, evenly. Those are not
    measured. A gap that is not close to a whole number of periods is named in a note: one pulse may be missing, or one
    too many.

    Raises
    ------
    NoPulses
        If the strobe rises fewer than two times, or faster than any camera.
    """
    times, lines = events.camera.rises_s, events.rise_lines
    if times.size < 2:
        raise _no_pulses(events, where)
    period = typical_period_s(times)
    if period < 1 / _FASTEST_HZ:
        raise NoPulses(
            "the events that the Bpod noted on port 1 are no pulses of a camera",
            where,
            expected=f"fewer than {_FASTEST_HZ:g} a second",
            got=f"{1 / period:,.0f} a second",
            do="see what is wired to port 1 of the Bpod, and whether its plug was loose",
        )
    notes = list(events.notes)
    too_soon = np.concatenate(([False], (np.diff(times) < _DOUBLE * period) & (np.diff(lines) == 0)))
    if too_soon.any():
        times, lines = times[~too_soon], lines[~too_soon]
        notes.append(
            f"{int(too_soon.sum()):,} pulses came within half a period of another of their trial and were left out"
        )
    whole, doubts = _whole_periods(np.diff(times) / period, lines)
    notes += doubts
    started = events.trial_starts_s[np.searchsorted(events.trial_lines, lines[0])]
    if times[0] - started >= _WATCHED_PERIODS * period:
        notes.append(
            f"the camera started within a trial: its line was silent for {times[0] - started:.3f} s before the first "
            "pulse, so no frame precedes that"
        )
    else:
        notes.append("the camera ran before the first trial, and the Bpod did not note since when")
    gaps = tuple(Gap(int(i), int(whole[i]), float(times[i + 1] - times[i])) for i in np.flatnonzero(whole > 1))
    return fill_gaps(Pulses(times, np.ones(times.size, np.bool_), tuple(notes)), gaps, "noted by no trial")


# -- trials ------------------------------------------------------------------------------------------------


class _Events:
    """Times of one kind of event in all trials."""

    def __init__(self, name: str, trials: list[_Trial], path: Path) -> None:
        pieces = [start + _numbers(events.get(name), name, line, path) for line, start, events in trials]
        times = np.concatenate(pieces) if pieces else np.empty(0)
        lines = np.repeat(np.array([line for line, _, _ in trials], dtype=np.int64), [piece.size for piece in pieces])
        known = np.isfinite(times)
        self.times_s: FloatArray = times[known]
        self.lines: IntArray = lines[known]
        self.n_dropped = int(times.size - self.times_s.size)


_Trial = tuple[int, float, dict[str, object]]
"""Line of the file, start in s since the start of the Bpod, events as read."""


def _read_trials(path: Path) -> tuple[list[_Trial], list[str]]:
    """Return all trials of a file, and remarks on its last line."""
    try:
        content = plain(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingFile("the Bpod's trials are not there", str(path), do=_COPY_AGAIN) from error
    filled = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    trials, notes = [], []
    for number, line in filled:
        try:
            value = json.loads(line)
        except ValueError as error:
            if number == filled[-1][0]:
                notes.append(f"line {number:,} of {path.name} is cut off: the rig stopped while it wrote the trial")
                break
            raise UnusableFile(
                f"line {number:,} of the trials is damaged",
                where=str(path),
                expected="one JSON object per line; only the last line may be cut off",
                got=f"{line[:60].decode('ascii', 'backslashreplace')}... ({error})",
                do=f"{_COPY_AGAIN}; if the original is the same, remove the line: its trial is lost, and its frames "
                "are timed like those between trials",
            ) from error
        trials.append(_trial(value, number, path))
    if not trials:
        raise UnusableFile(
            "the file holds no whole trial",
            where=str(path),
            expected="one JSON object per line and trial",
            got=f"{len(content):,} bytes, {len(filled):,} lines",
            do=f"{_COPY_AGAIN}; if the original is the same, no trial was ever finished and this session cannot be "
            "timed by its Bpod",
        )
    return trials, notes


def _trial(value: object, line: int, path: Path) -> _Trial:
    """Return a trial from a JSON value, with the fields that it needs."""
    data = value.get("behavior_data") if isinstance(value, dict) else None
    if not isinstance(data, dict):
        raise _not_a_trial(path, line, "an object with behavior_data", _summary(value))
    wanted = ("Bpod start timestamp", "Trial start timestamp", "Events timestamps")
    missing = [key for key in wanted if key not in data]
    if missing:
        raise _not_a_trial(path, line, ", ".join(wanted), f"no {', '.join(missing)}; {_summary(data)}")
    try:
        start = float(data["Trial start timestamp"]) - float(data["Bpod start timestamp"])
    except (TypeError, ValueError) as error:
        raise _not_a_trial(path, line, "timestamps in s", str(error)) from error
    if not 0 <= start < _LONGEST_SESSION_S:
        raise _not_a_trial(path, line, "a trial that starts within a day after the Bpod", f"{start:g} s after it")
    events = data["Events timestamps"]
    if not isinstance(events, dict):
        raise _not_a_trial(path, line, "events by name, each with a list of times", repr(events)[:60])
    return line, start, events


def _numbers(value: object, name: str, line: int, path: Path) -> FloatArray:
    """Return the times of an event; none where it did not happen."""
    if value is None:
        return np.empty(0)
    try:
        times = np.atleast_1d(np.asarray(value, dtype=np.float64)).ravel()
    except (TypeError, ValueError) as error:
        raise _not_a_trial(path, line, f"a list of times for {name}", str(error)) from error
    odd = times[(times < 0) | (times > _LONGEST_SESSION_S)]
    if odd.size:
        raise _not_a_trial(path, line, f"times for {name} within a day after the trial's start", f"{odd[0]:g} s")
    return times


def _not_a_trial(path: Path, line: int, expected: str, got: str) -> UnusableFile:
    return UnusableFile(
        f"line {line:,} is not a trial of a Bpod",
        where=str(path),
        expected=expected,
        got=got,
        do=f"{_COPY_AGAIN}; if the original is the same, the task's software does not write what a camera can be "
        "timed by",
    )


def _summary(value: object) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(map(str, list(value)[:8])) or 'nothing'}"
    return repr(value)[:60]


def _require_order(times_s: FloatArray, lines: IntArray, path: Path, problem: str) -> None:
    """Require strictly increasing times, else raise with the line of the first that is not."""
    back = np.flatnonzero(np.diff(times_s) <= 0)
    if back.size:
        at = int(back[0])
        raise UnusableFile(
            f"{problem} ({back.size:,} times)",
            where=f"{path}, line {lines[at + 1]:,}",
            expected=f"later than {times_s[at]:.4f} s after the start of the Bpod (line {lines[at]:,})",
            got=f"{times_s[at + 1]:.4f} s",
            do="see whether the Bpod was started anew within the session, or trials of two sessions are in one file: "
            "keep those that belong to the video",
        )


def _fronts(rises: _Events, falls: _Events) -> Fronts:
    times = np.concatenate([rises.times_s, falls.times_s])
    polarities = np.repeat(np.array([1, -1], np.int8), [rises.times_s.size, falls.times_s.size])
    order = np.argsort(times, kind="stable")
    return Fronts(times[order], polarities[order])


# -- gaps ----------------------------------------------------------------------------------


def _whole_periods(in_periods: FloatArray, lines: IntArray) -> tuple[IntArray, list[str]]:
    """Return the periods in each interval between pulses, at least one, and doubts about them.

    A trial whose start was noted wrongly makes the gaps before and after it uneven by opposite amounts: an uneven gap
    is therefore rounded together with the remainder that the uneven one before it left.

    Parameters
    ----------
    in_periods : ndarray of float
        Intervals between pulses, periods (interval,).
    lines : ndarray of int
        Line of the file of each pulse (interval + 1,).
    """
    whole = np.maximum(np.rint(in_periods), 1).astype(np.int64)
    # Within a trial an exposure may be a little early or late; only where some are missing is there a gap to judge.
    is_gap = (np.diff(lines) > 0) | (whole > 1)
    uneven = is_gap & (np.abs(in_periods - whole) > _UNEVEN)
    rest, doubtful, named = 0.0, False, []
    for at in np.flatnonzero(uneven | (np.diff(lines) > 0)).tolist():
        if not uneven[at]:
            doubtful, rest = doubtful or abs(rest) > _UNEVEN, 0.0
            continue
        whole[at] = max(round(in_periods[at] + rest), 1)
        rest += in_periods[at] - whole[at]
        named.append(f"{in_periods[at]:.2f} after line {lines[at]:,}")
    if not named:
        return whole, []
    gaps = ", ".join(named[:_MOST_NAMED]) + (", ..." if len(named) > _MOST_NAMED else "")
    consequence = (
        "the frames from there on may be off by one"
        if doubtful or abs(rest) > _UNEVEN
        else "the start of the trials between them was noted wrongly, by less than a period"
    )
    return whole, [f"{len(named):,} gaps between pulses are no whole number of periods long ({gaps}): {consequence}"]


def _format_lines(lines: IntArray) -> str:
    """Format line numbers, those that follow each other as ranges.

    >>> _format_lines(np.array([1, 2, 3, 7]))
    '1-3, 7'
    """
    ends = [0, *(np.flatnonzero(np.diff(lines) > 1) + 1).tolist(), lines.size]
    runs = [(int(lines[a]), int(lines[b - 1])) for a, b in pairwise(ends)]
    ranges = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs[:_MOST_NAMED])
    return ranges + (", ..." if len(runs) > _MOST_NAMED else "")


def _no_pulses(events: BpodEvents, where: str) -> NoPulses:
    n_rises, n_falls = events.camera.rises_s.size, events.camera.falls_s.size
    return NoPulses(
        "the Bpod noted no pulses of the camera",
        where,
        expected=f"{CAMERA_EVENTS[0]} and {CAMERA_EVENTS[1]} events in the trials, one pair per exposure",
        got=f"{n_rises:,} rises and {n_falls:,} falls in {events.trial_lines.size:,} trials, "
        f"{len(events.ttl):,} fronts of the sound's TTL",
        do="the camera was not wired to port 1 of the Bpod, or not switched on: this session's camera cannot be timed "
        "by the Bpod",
    )
