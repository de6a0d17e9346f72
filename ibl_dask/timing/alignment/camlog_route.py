"""Logs that labcams leaves beside its videos, and frame times of such cameras.

A camlog is text: comments, and one line per frame that was saved with the camera's own frame id and clock. Rigs with
labcams write no pin states, so nothing but the log ties frames to pulses. It does so in two ways. The ids tell which
exposures never became a frame, and how many there were from the first frame to the last. And the camera's clock and the
DAQ both noted when it exposed: where intervals are uneven, by microseconds of jitter or by a pause, they are uneven
alike on both, which shows which pulse is that of the first frame.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import correlate

from ibl_dask.errors import MissingFile, UnusableFile
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.text import plain
from ibl_dask.timing.alignment.exposure_index import by_counter, insist_on_one_rate
from ibl_dask.timing.alignment.frame_times import CameraTimes, Quality, Route, times_from_pulses
from ibl_dask.timing.alignment.pulses import Pulses, camera_pulses, drop_spurious, typical_period_s
from ibl_dask.timing.camera.camera_files import CameraFiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ibl_dask.timing.clocks.nidq import Fronts

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

_COPY_AGAIN = "copy the log again from the acquisition computer"
_GLUED = re.compile(rb"(# ISSUE RECORDING[^\n]*?INSTALL?ATION\.)(?=\d)")
"""labcams ends this warning without a line break, so that the line of the next frame follows on the same line."""
_WROTE = re.compile(rb"^# \[[^\n]*\bWrote (\d+) frames on [^\n]* \((\d+) files?\)", re.MULTILINE)
_NUMBER = rb"(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"
_LED = re.compile(rb"^# ?LED:" + rb",".join([rb" *" + _NUMBER] * 3), re.MULTILINE)
_SYNC = re.compile(rb"^# ?SYNC(\d*):" + rb",".join([rb" *" + _NUMBER] * 3), re.MULTILINE)
_LARGEST_ID = 2.0**53
_PERIODS_S = (1e-3, 10.0)
"""No camera of these rigs is faster or slower."""
_UNITS = ((1.0, "s"), (1e-9, "ns"))
"""labcams writes the seconds of FLIR cameras and the ns of Allied Vision cameras. Both at once fit no period."""
_OUTSIDE = (1.0, 0.005)
"""Seconds, and share of the frames, that may lie before the first pulse: as many as `timing.align` tolerates."""
_SURE, _CLEAR = 8.0, 2.0
"""A start is believed where its correlation is this many times what chance gives, and this many times the next best.

Chance gives correlations with a standard deviation of 1/sqrt(number of intervals); 8 of these are out of reach among
as many starts as there can be. Regular patterns, such as the beat of sampling and frame rate, agree at several starts
alike, and are told by the second condition."""
_ALL_BUT_OUTLIERS = 0.99
"""Share of the intervals that deviate by no more than the others are cut to."""
_MOST_PAUSES = 1000
"""Pauses that are compared, so that a camera that is triggered in bursts costs no more than a million comparisons."""
_WHOLE = 0.1
"""Intervals within this fraction of a period of a whole number of periods count as whole."""
_PAUSE = 0.75
"""A frame this many periods later than the ids say comes after a pause; less is a clock that was read late."""

ROUTE = Route(
    do="check that sync, video and camlog are of the same recording and complete, and that the camera's channel in the "
    "rig's wiring.json is right",
)


@dataclass(frozen=True, slots=True, eq=False)
class Camlog:
    """What labcams noted about the frames of one camera."""

    frame_ids: IntArray
    """The camera's own number of each frame, strictly increasing; they start at 1, or wherever the camera was
    (frame,)."""
    timestamps_s: FloatArray | None
    """The camera's clock, s since whatever it counts from; None where it makes no sense (frame,)."""
    led: FloatArray
    """LED of a widefield rig, frame, timestamp (event, 3)."""
    sync: FloatArray
    """Sync line, count, frame, timestamp (event, 4)."""
    name: str
    """Name of the file."""
    notes: tuple[str, ...] = ()
    """What a reader of the times should know."""
    damaged: tuple[str, ...] = ()
    """Notes that say that something was there and could not be used."""
    ids_grow: bool = True
    """False where the ids cannot be used, and are numbers of lines instead."""

    @property
    def n_frames(self) -> int:
        """Return how many frames were saved."""
        return self.frame_ids.size

    @property
    def camera_files(self) -> CameraFiles:
        """Return the same as other cameras' files say it: count and clock from the first frame on."""
        clock = self.timestamps_s
        return CameraFiles(
            self.n_frames,
            camera_time_s=None if clock is None else clock - clock[0],
            count=self.frame_ids - self.frame_ids[0] if self.ids_grow else None,
            sources=(self.name,),
            notes=self.notes,
            damaged=self.damaged,
        )


def read_camlog(path: Path) -> Camlog:
    """Read the log of a camera.

    Raises
    ------
    MissingFile
        If it is not there.
    UnusableFile
        If it holds no frame, or a line makes no sense. Only the last line may be cut off: it is left out.
    """
    try:
        content = plain(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingFile("the camera's log is not there", str(path), do=_COPY_AGAIN) from error
    notes: list[str] = []
    damaged: list[str] = []
    content = _without_torn_line(content, damaged, path.name)
    content, n_glued = _GLUED.subn(rb"\1\n", content)
    if n_glued:
        notes.append(f"{path.name}: the computer was too slow {n_glued:,} times, and frames were dropped there")
    table = _table(content, path)
    ids = _frame_ids(table[:, 0], path, damaged)
    clock = _clock_s(table[:, 1], path.name, notes, damaged)
    _compare_with_trailer(content, len(table), path.name, notes)
    events = [
        np.array([[float(value or 0) for value in found] for found in pattern.findall(content)]).reshape(-1, n)
        for pattern, n in ((_LED, 3), (_SYNC, 4))
    ]
    return Camlog(
        frame_ids=np.arange(len(table)) if ids is None else ids,
        timestamps_s=clock,
        led=events[0],
        sync=events[1],
        name=path.name,
        notes=(*damaged, *notes),
        damaged=tuple(damaged),
        ids_grow=ids is not None,
    )


def camlog_times(
    n_frames: int,
    fronts: Fronts,
    log: Camlog | None,
    *,
    where: str,
    nominal_hz: float | None = None,
    fronts_per_channel: Mapping[int, int] | None = None,
) -> CameraTimes:
    """Give every frame of a video its time on the clock of a DAQ, by the camera's log.

    Parameters
    ----------
    n_frames
        Frames of the video.
    fronts
        Fronts of the camera's line.
    log
        The camera's log; None where there is none, so that numbers alone decide.
    where
        Camera and session, for messages.
    nominal_hz
        The rate that the camera was set to, Hz; None where nobody knows.
    fronts_per_channel
        Fronts on every channel of the sync, for the message where there are no pulses.

    Raises
    ------
    NoPulses, ClocksDisagree, UnequalLengths, PulseCountMismatch
        See `timing.align.frame_times`.

    Notes
    -----
    Where the intervals do not show which pulse is that of the first frame, it is the first one: these cameras start to
    expose with the recording, and labcams stops saving before they stop. The reference assumes the same.
    """
    files = None if log is None else log.camera_files
    found = camera_pulses(fronts, where=where, fronts_per_channel=fronts_per_channel)
    clean = drop_spurious(found)
    insist_on_one_rate(clean, files, nominal_hz, where)
    pulses = _Ruler.of(clean)
    frames = _frame_marks(n_frames, files)
    agreed = None if files is None else _start_by_intervals(pulses, frames, files.camera_time_s)
    first_s, last_s = pulses.span(agreed or 0, frames, has_clock=files is not None and files.camera_time_s is not None)
    half = pulses.period_s / 2
    time = partial(times_from_pulses, n_frames, where=where, route=ROUTE, fronts_per_channel=fronts_per_channel)
    cut = _cut(found, first_s, last_s, half)
    # One pulse has no period. Of two, `timing.align` takes the first for the one in excess.
    n_padded = int(cut.times_s.size < 2)
    cut = _cut(found, first_s - n_padded * pulses.period_s, last_s, half)
    result = time(cut, None, files)
    if result.n_surplus_start > n_padded:
        # A pause of half a period too much, rounded otherwise: the first pulse stays that of the first frame.
        last_s = float(cut.times_s[n_padded - 1 - result.n_surplus_start])
        result = time(_cut(found, first_s, last_s, half), None, files)
    n_before = int(np.count_nonzero(pulses.times_s < first_s - half))
    n_after = int(np.count_nonzero(pulses.times_s > last_s + half))
    is_early = result.times_s < pulses.times_s[0] - half
    n_early = int(np.count_nonzero(is_early))
    is_guess = agreed is None and n_after > 0
    quality = np.where(is_early, np.uint8(Quality.EXTRAPOLATED), result.pulse_quality)
    # The pulses are cut to the frames, so that numbers agree in any case.
    ruler_says = by_counter(n_frames, files, n_frames, where).assumed
    why = (
        ""
        if agreed is not None
        else "no interval says which pulse is that of frame 0, so the first one is taken for it"
    )
    assumed = "; ".join(filter(None, (why, ruler_says)))
    outcome = max(result.outcome_if_confirmed, Outcome.WARNING if is_early.any() else Outcome.PASS)
    return replace(
        result,
        method="counts" if agreed is None else "intervals",
        quality=np.full_like(quality, Quality.ASSUMED) if assumed else quality,
        pulse_quality=quality,
        assumed=assumed,
        start=result.start - n_padded + n_before - n_early,
        n_pulses=result.n_pulses - n_padded + n_before + n_after,
        n_surplus_start=result.n_surplus_start - n_padded + n_before,
        n_surplus_end=result.n_surplus_end + n_after,
        n_missing_start=result.n_missing_start + n_early,
        notes=(*result.notes, *_notes_on_start(n_before, n_after, n_early, is_guess, agreed is not None)),
        outcome_hint=Outcome.FAIL if assumed else outcome,
        outcome_if_confirmed=outcome,
    )


# -- the file ----------------------------------------------------------------------------------------------


def _without_torn_line(content: bytes, damaged: list[str], name: str) -> bytes:
    """Leave out a last line that lacks its end: what is there of its numbers may be cut as well."""
    whole, _, rest = content.rpartition(b"\n")
    if not rest or rest.startswith(b"#"):
        return content
    damaged.append(f"{name} ends within a line, which was left out: the computer stopped while it wrote")
    return whole + b"\n"


def _table(content: bytes, path: Path) -> FloatArray:
    """Return ids and timestamps (frame, 2)."""
    if not re.search(rb"^[^#\n]*\d", content, re.MULTILINE):
        raise UnusableFile(
            "the log holds no frame",
            str(path),
            "a line `frame_id,timestamp` per frame",
            f"{content.count(b'#'):,} comments" if content else "an empty file",
            f"{_COPY_AGAIN}; if the original is the same, nothing was recorded",
        )
    try:
        table = np.loadtxt(io.BytesIO(content), delimiter=",", comments="#", usecols=(0, 1), ndmin=2)
    except ValueError as error:
        raise _damaged(content, path) from error
    if not np.isfinite(table).all():
        raise _damaged(content, path)
    return table


def _damaged(content: bytes, path: Path) -> UnusableFile:
    """Name the first line that is no frame."""
    line = re.compile(rb" *" + _NUMBER + rb" *, *" + _NUMBER + rb" *(,.*)?")
    number, text = next(
        (
            (n, text)
            for n, text in enumerate(content.split(b"\n"), 1)
            if text.strip() and not text.startswith(b"#") and not line.fullmatch(text)
        ),
        (0, b"a line that is no pair of numbers"),
    )
    return UnusableFile(
        f"line {number:,} of the log is damaged",
        where=str(path),
        expected="frame_id,timestamp such as 1,0.0014252",
        got=repr(text[:80].decode("ascii", "backslashreplace")),
        do=f"{_COPY_AGAIN}; if the original is the same, mend the line by hand: its frame needs both values",
    )


def _frame_ids(values: FloatArray, path: Path, damaged: list[str]) -> IntArray | None:
    if ((values != np.floor(values)) | (np.abs(values) > _LARGEST_ID)).any():
        at = int(np.flatnonzero((values != np.floor(values)) | (np.abs(values) > _LARGEST_ID))[0])
        raise UnusableFile(
            f"the id of frame {at:,} is no whole number",
            str(path),
            "1, 2, 3, ... or the camera's counter",
            f"{values[at]:g}",
            _COPY_AGAIN,
        )
    ids = values.astype(np.int64)
    back = np.flatnonzero(np.diff(ids) <= 0)
    if not back.size:
        return ids
    damaged.append(
        f"{path.name}: the frame ids do not grow at frame {int(back[0]) + 1:,} ({back.size:,} such frames) and were "
        "left out, so that dropped frames cannot be told"
    )
    return None


def _compare_with_trailer(content: bytes, n_lines: int, name: str, notes: list[str]) -> None:
    wrote = _WROTE.findall(content)
    if not wrote:
        notes.append(f"{name} does not end with the number of frames: the computer stopped before the recording did")
        return
    n_written, n_files = map(int, wrote[-1])
    if n_written != n_lines:
        notes.append(f"{name} describes {n_lines:,} frames and says that {n_written:,} were written")
    if n_files > 1:
        notes.append(f"{name} is about {n_files:,} video files, the first of which is looked at")


def _clock_s(values: FloatArray, name: str, notes: list[str], damaged: list[str]) -> FloatArray | None:
    """Return the camera's clock in s; None where it is no clock."""
    if values.size < 2:
        return values
    step = float(np.median(np.diff(values)))
    unit = next((unit for unit in _UNITS if _PERIODS_S[0] <= step * unit[0] <= _PERIODS_S[1]), None)
    if unit is None or (np.diff(values) <= 0).any():
        damaged.append(f"{name}: the timestamps are no clock in s or ns (usual step {step:g}) and were left out")
        return None
    if unit[1] != "s":
        notes.append(f"{name}: the timestamps are {step:g} apart and were taken for {unit[1]}")
    return values * unit[0]


# -- which pulse is the first frame's ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Ruler:
    """Pulses on a ruler with a mark per period, so that those which the sync missed shift no other."""

    times_s: FloatArray
    """Time of each pulse (pulse,)."""
    marks: IntArray
    """Mark of each pulse, the first at 0 (pulse,)."""
    measured: NDArray[np.bool_]
    """False where a pulse was put in by reasoning (pulse,)."""
    period_s: float

    @classmethod
    def of(cls, pulses: Pulses) -> _Ruler:
        steps = np.maximum(np.rint(np.diff(pulses.times_s) / pulses.period_s), 1).astype(np.int64)
        marks = np.concatenate([[0], np.cumsum(steps)])
        return cls(pulses.times_s, marks, pulses.measured, pulses.period_s)

    def time_at(self, mark: int) -> float:
        """Return the time of a mark; before the first and after the last pulse at the usual period."""
        beyond = min(mark, 0) + max(mark - int(self.marks[-1]), 0)
        return float(np.interp(mark, self.marks, self.times_s)) + beyond * self.period_s

    def span(self, start: int, frames: IntArray, *, has_clock: bool) -> tuple[float, float]:
        """Return the times of the first and the last frame, where the first is at a mark.

        Without a clock nobody knows whether gaps between pulses are pauses; as long as there are enough pulses, they
        are.
        """
        last = int(frames[-1])
        if not has_clock and last < self.times_s.size:
            return float(self.times_s[0]), float(self.times_s[last])
        return self.time_at(start), self.time_at(start + last)


def _frame_marks(n_frames: int, files: CameraFiles | None) -> IntArray:
    """Return the mark of each frame of the video, the first at 0: exposures that the ids count, and pauses."""
    steps = np.ones(max(n_frames, 1) - 1, dtype=np.int64)
    if files is not None and files.count is not None:
        known = np.diff(files.count[:n_frames])
        steps[: known.size] = known
    if files is not None and files.camera_time_s is not None and files.n_frames > 1:
        intervals = np.diff(files.camera_time_s[:n_frames]) / typical_period_s(files.camera_time_s)
        excess = intervals - steps[: intervals.size]
        steps[: intervals.size] += np.where(excess > _PAUSE, np.rint(excess), 0).astype(np.int64)
    return np.concatenate([[0], np.cumsum(steps)])


def _start_by_intervals(pulses: _Ruler, frames: IntArray, clock: FloatArray | None) -> int | None:
    """Return the mark of frame 0 at which intervals by the pulses and by the camera's clock agree; None if unclear.

    Pauses tell exactly, where there are any; else the jitter of all intervals together. Differences from the usual
    interval depend neither on the drift of a clock nor on its zero.
    """
    known = frames.size if clock is None else min(clock.size, frames.size)
    if clock is None or known < 3 or pulses.times_s.size < 3:
        return None
    by_camera = np.diff(clock[:known]) * (pulses.period_s / typical_period_s(clock))
    by_pulses = np.diff(pulses.times_s)
    is_measured = pulses.measured[1:] & pulses.measured[:-1]
    surplus = int(pulses.marks[-1]) - int(frames[-1])
    outside = max(round(_OUTSIDE[0] / pulses.period_s), int(_OUTSIDE[1] * frames.size))
    possible = range(min(surplus, 0) - outside, max(surplus, 0) + outside + 1)
    long_pulses, long_frames = (_is_pause(intervals / pulses.period_s) for intervals in (by_pulses, by_camera))
    by_pauses = _start_by_pauses(
        (pulses.marks[:-1][long_pulses], by_pulses[long_pulses]),
        (frames[: known - 1][long_frames], by_camera[long_frames]),
        pulses.period_s / 4,
        possible,
    )
    if by_pauses is not None:
        return by_pauses
    single = np.diff(frames[:known]) == 1
    return _start_by_jitter(
        _deviations(pulses.marks, by_pulses, is_measured & (np.diff(pulses.marks) == 1)),
        _deviations(frames[:known], by_camera, single),
        possible,
    )


def _is_pause(in_periods: FloatArray) -> NDArray[np.bool_]:
    """Return which intervals are pauses of the camera for certain.

    Pulses that the sync missed and frames that were dropped leave whole periods, a pause hardly ever.
    """
    return (in_periods > 1.5) & (np.abs(in_periods - np.rint(in_periods)) > _WHOLE)


def _start_by_pauses(
    pulses: tuple[IntArray, FloatArray], frames: tuple[IntArray, FloatArray], tolerance_s: float, possible: range
) -> int | None:
    """Return the start at which most pauses of equal length coincide; None if there is none, or no clear one.

    Parameters
    ----------
    pulses, frames
        Mark and length of each long interval.
    tolerance_s
        Lengths that differ by less are equal.
    possible
        Starts that come into question.
    """
    (pulse, by_pulses), (frame, by_camera) = ((marks[:_MOST_PAUSES], s[:_MOST_PAUSES]) for marks, s in (pulses, frames))
    alike = np.abs(by_pulses[:, None] - by_camera) < tolerance_s
    starts = (pulse[:, None] - frame)[alike]
    starts, votes = np.unique(starts[(starts >= possible.start) & (starts < possible.stop)], return_counts=True)
    ranked = np.sort(votes)
    if not ranked.size or (ranked.size > 1 and ranked[-1] < _CLEAR * ranked[-2]):
        return None
    return int(starts[np.argmax(votes)])


def _start_by_jitter(pulses: FloatArray, frames: FloatArray, possible: range) -> int | None:
    """Return the start at which deviations from the usual interval correlate; None if no start stands out."""
    size = float(np.linalg.norm(pulses) * np.linalg.norm(frames))
    if size == 0:
        return None
    agreement = correlate(pulses, frames, mode="full", method="fft") / size
    starts = np.arange(agreement.size) - (frames.size - 1)
    inside = (starts >= possible.start) & (starts < possible.stop)
    agreement, starts = agreement[inside], starts[inside]
    if not starts.size:
        return None
    best = int(np.argmax(agreement))
    next_best = np.delete(agreement, best).max(initial=0.0)
    chance = 1 / np.sqrt(np.count_nonzero(frames))
    is_clear = agreement[best] > max(_SURE * chance, _CLEAR * next_best)
    return int(starts[best]) if is_clear else None


def _deviations(marks: IntArray, intervals: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """Return by how much the interval after each mark is off the usual one; zero where that is not known.

    The largest are cut to what nearly all are within: one bad interval must not outweigh all others.
    """
    out = np.zeros(int(marks[-1]))
    if known.any():
        off = intervals[known] - np.median(intervals[known])
        limit = float(np.quantile(np.abs(off), _ALL_BUT_OUTLIERS))
        off -= off[np.abs(off) <= limit].mean()
        out[marks[:-1][known]] = np.clip(off, -limit, limit)
    return out


def _cut(pulses: Pulses, first_s: float, last_s: float, half_s: float) -> Pulses:
    """Return the pulses of the video: what `timing.align` is left to do is to fill gaps among them.

    Where the first frames have no pulse, they are put in, and one for the last frame where it has none and others
    follow. (One for the first frame alone, far before the others, would pass for a glitch.)
    """
    inside = (pulses.times_s > first_s - half_s) & (pulses.times_s < last_s + half_s)
    times, measured = pulses.times_s[inside], pulses.measured[inside]
    put_in: list[float] = []
    if not times.size:
        put_in.append(first_s)
    elif times[0] > first_s + half_s:
        n_early = round((float(times[0]) - first_s) / (2 * half_s))
        put_in += np.linspace(first_s, float(times[0]), n_early, endpoint=False).tolist()
    if (not times.size or times[-1] < last_s - half_s) and pulses.times_s[-1] > last_s:
        put_in.append(last_s)
    times = np.concatenate([times, put_in])
    order = np.argsort(times, kind="stable")
    measured = np.concatenate([measured, np.zeros(len(put_in), np.bool_)])[order]
    return replace(pulses, times_s=times[order], measured=measured, n_inserted=pulses.n_inserted + len(put_in))


def _notes_on_start(n_before: int, n_after: int, n_early: int, is_guess: bool, is_agreed: bool) -> list[str]:
    notes = []
    if is_agreed:
        notes.append("intervals between frames by the camera's clock agree with those between pulses")
    if is_guess:
        notes.append(
            f"{n_after:,} pulses are in excess and nothing shows where; the first pulse is taken for that of frame 0"
        )
    elif n_before or n_after:
        notes.append(f"{n_before:,} pulses come before the first frame and {n_after:,} after the last")
    if n_early:
        notes.append(f"the first {n_early:,} frames come before the first pulse; their times are extrapolated")
    return notes
