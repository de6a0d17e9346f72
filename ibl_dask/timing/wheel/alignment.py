"""How far video and wheel are apart: motion energy of the wheel's region against the speed of the wheel.

Over a whole session, windows slide along the exposures. In each, motion energy is compared with the speed at every
shift in a range, all shifts over as many exposures; the steps from window to window that explain most of it are the
answer, with a confidence. Shifts are in exposures (frames, where the camera lost none), positive where the video is
late: a frame shows what the wheel did that many exposures before the frame's time.

The reference's short alignment, of one bout of movement, is here as well: its number is published by the checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ibl_dask.timing.alignment.pulses import Pulses
    from ibl_dask.timing.wheel.sources import Motion

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

LAG = 2
"""Exposures between the two frames of a motion energy, which thus belongs to the one between them."""
SEARCHED_S = 2.0
"""Shifts searched to either side, s, besides those that surplus and missing pulses make possible."""
COMPARED_S = 8.0
"""Shifts that the best is compared with, to either side, s: two trials, so that there are enough that tell nothing."""
CONFIDENT = 0.4
"""Confidence from which a session's shift counts; see `Alignment.confidence`."""
PEAK, PEAK_OF_SHORT = 0.35, 3.3
"""Correlation from which a session's shift counts: the first, and the second over the root of the seconds looked at.

Of 60 made-up recordings each, whose energies have nothing to do with the wheel, the highest peak was 0.59 in 20 s, 0.51
in 30 s, 0.40 in 60 s and 0.31 in 180 s: a few turns fit anywhere. Where they have, the lowest was over 0.7, and 0.41
after two minutes with three times the noise and a hand in a third of the frames."""
AGREEING = 0.6
"""Share of windows that must find the shift by themselves for it to count."""

_WINDOW_S = (10.0, 20.0)
"""Shortest and longest window; an eighth of the recording between them. A few turns of the wheel for a shift, several
windows for a judgement, and so short that few frames are lost within one: what a window is not sure of, its neighbours
add. The reference's are of 150 s."""
_HIGH_PASS_S = 2.0
"""Slower changes are taken out of energy and speed: a hand that stays for seconds is slow, a turn takes half a one."""
_GUARD_S = 0.5
"""A rival is a shift at least this far from the best: nearer ones share its movement."""
_CORRELATION_S = 0.1
"""Exposures nearer than this are no independent evidence: the wheel's speed is filtered, its turns are smooth."""
_HALF_SPEED = 1.0
"""Speed at which the measure of it has half its greatest value, rad/s. Energy saturates as well: once the pattern has
moved by its own grain, more movement makes no more difference between two frames."""
_MOVING = 0.5
"""Speed above which the wheel turns, rad/s. One tick of a Bpod's encoder (6 mrad) peaks at half of that after the
filter."""
_STILL = 0.2
"""Speed below which it stands, rad/s."""
_NOISE = 2.0
"""Noise goes up from its middle by this much of what it goes down from there to its lowest twentieth: 3.3 standard
deviations."""
_MOVING_S = 0.25
"""A window is of use if the wheel turned for this long in it, s."""
_KNOWN = 0.5
"""A window is of use if this share of its motion energies is known."""

_BOUT_S = (3.0, 20.0)
_BOUT_CHANGE = 0.1
_BOUT_ONSET = 1.5
_BOUT_SPAN = 200
_BOUT_GAP_S = 0.1
_BOUT_SHORTEST_S = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """How far video and wheel are apart over a session."""

    times_s: Floats
    """Middle of each window in which the wheel turned, s on the main clock (window,)."""
    shifts: Floats
    """Shift that each window finds by itself, exposures, to a fraction of one (window,)."""
    confidences: Floats
    """How far the peak of each window stands above the rest, 0 to 1 (window,)."""
    steps: Ints
    """Shift at each window that explains all of them best with few changes, whole exposures (window,)."""
    changes: tuple[int, ...]
    """Exposure from which on each further shift holds, in order; none where it is the same throughout."""
    shift_frames: float
    """The session's shift, exposures, to a fraction of one: the median of `steps`, and how far the peak is beside it;
    NaN without windows."""
    shift_s: float
    """The same, s."""
    peak: float
    """Correlation at `steps`, all windows together, -1 to 1."""
    confidence: float
    """How far that peak stands above the rest, 0 to 1: 1 - (highest correlation elsewhere) / peak.

    Elsewhere is at least half a second away, and up to 8 s: also where no shift is looked for. If energy has nothing to
    do with the wheel, the best of the shifts that are looked for is seldom above all others, and the confidence mostly
    zero, in one made-up session of ten above 0.3 or 0.4, but then under half of the windows agree. If it has, the rest
    cancels over the windows: 0.4 to 0.7 after 20 s, over 0.8 after three minutes, over 0.6 with a hand in a fifth of
    the frames. So 0.4 is asked for, and that 60 % of the windows agree."""
    agreeing: float
    """Share of windows whose own shift is within a tenth of a second of `steps`: the same peak, 0 to 1."""
    looked_at_s: float
    """Time in the windows that count, s."""
    n_windows: int
    """Windows of the session."""
    n_still: int
    """Windows left out since the wheel stood."""
    n_unknown: int
    """Windows left out since too few of their frames decode."""

    @property
    def is_confident(self) -> bool:
        """Return whether the shift may be acted upon."""
        return self.confidence >= CONFIDENT and self.agreeing >= AGREEING and self.peak >= self.needed_peak

    @property
    def needed_peak(self) -> float:
        """Return the correlation that recordings of this length need."""
        return float(max(PEAK, PEAK_OF_SHORT / np.sqrt(self.looked_at_s))) if self.looked_at_s else 1.0

    @property
    def why_not(self) -> str:
        """Return why not; empty where it may."""
        if self.is_confident:
            return ""
        if not self.steps.size:
            return _nothing(self.n_still, self.n_unknown)
        return (
            f"motion energy and wheel do not tell a shift: confidence {self.confidence:.2f} of {CONFIDENT:g} needed, "
            f"{self.agreeing:.0%} of {self.steps.size:,} windows agree, correlation {self.peak:.2f} of "
            f"{self.needed_peak:.2f} needed"
        )


def _nothing(n_still: int, n_unknown: int) -> str:
    told = f"the wheel stood in {n_still:,} windows"
    return told + (f", and in {n_unknown:,} too few frames decode" if n_unknown else "")


def align(
    energy: NDArray[np.floating],
    pulses: Pulses,
    numbers: Ints,
    motion: Motion,
    late: int = 0,
    early: int = 0,
) -> Alignment:
    """Compare motion energy with the wheel over a whole session.

    Parameters
    ----------
    energy
        Motion energy of the wheel's region; the value at frame i compares it with frame i + 2. NaN where one of them
        did not decode (frame,).
    pulses
        Exposures on the main clock.
    numbers
        The exposure that each frame is taken to show, rising; negative, or beyond the last, where it left no pulse
        (frame,).
    motion
        How fast the wheel turned.
    late, early
        Exposures by which the video may be late, or early, beyond the usual range: pulses that are left over, or
        missing, at the other end than frames were tied at.

    Notes
    -----
    What else than the wheel moves in the region (a paw, a hand) makes energies far above the wheel's, for whole runs of
    frames. Three things keep them from deciding. Energies count by rank within their window, so that none weighs more
    than its place in the order, however large; a run of them is a plateau, which the high pass reduces to its two
    edges; and what is left is added up over windows, in which a hand is each time elsewhere relative to the wheel.
    Ranks also do away with brightness, contrast and the shape of the relation between speed and energy.
    """
    period = pulses.period_s
    first = int(numbers[0])
    traces = _Traces.make(_on_grid(energy, numbers - first), first, pulses, motion, late, early)
    windows, every = _windows(traces.energy.size, period)
    moves = np.array([traces.moves(window) for window in windows])
    known = np.array([np.mean(np.isfinite(traces.energy[start:stop])) >= _KNOWN for start, stop in windows])
    kept = [window for window, use in zip(windows, moves & known, strict=True) if use]
    rows = np.array([traces.correlations(window) for window in kept], np.float32).reshape(len(kept), traces.lags.size)
    places = _best_steps(_evidence(rows[:, traces.searched], every * period)) + traces.searched.start
    guard = max(1, round(_GUARD_S / period))
    own = traces.searched.start + np.argmax(rows[:, traces.searched], axis=1)
    shifts = np.array([traces.lags[at] - _beside_peak(row, at) for row, at in zip(rows, own, strict=True)])
    shift, peak, confidence, agreeing = float("nan"), 0.0, 0.0, 0.0
    if kept:
        mean, centre = _along(rows, places)
        near = centre + int(np.argmax(mean[centre - 1 : centre + 2])) - 1
        shift = float(np.median(traces.lags[places])) - (near - centre) - _beside_peak(mean, near)
        peak, confidence = float(mean[near]), _confidence(mean, near, guard)
        agreeing = float(np.mean(np.abs(shifts - traces.lags[places]) <= max(1.5, _CORRELATION_S / period)))
    middles = np.array([(start + stop) // 2 for start, stop in kept], np.int64)
    return Alignment(
        times_s=pulses.at(first + middles),
        shifts=shifts,
        confidences=np.array([_confidence(row, at, guard) for row, at in zip(rows, own, strict=True)]),
        steps=traces.lags[places],
        changes=tuple(first + change for change in traces.changes(kept, places)),
        shift_frames=shift,
        shift_s=shift * period,
        peak=peak,
        confidence=confidence,
        agreeing=agreeing,
        looked_at_s=float(_covered(kept) * period),
        n_windows=len(windows),
        n_still=int(np.count_nonzero(~moves)),
        n_unknown=int(np.count_nonzero(moves & ~known)),
    )


def corrected_numbers(numbers: Ints, alignment: Alignment) -> Ints | None:
    """Return the exposure that each frame shows by the wheel; None where no loss of frames explains the shift.

    The shift may fall in the course of a session, where the camera lost frames that it did not count. Were it to rise,
    two frames would share an exposure.
    """
    levels = [int(alignment.steps[0])]
    levels += [int(step) for before, step in zip(alignment.steps, alignment.steps[1:], strict=False) if step != before]
    which = np.searchsorted(np.array(alignment.changes, np.int64), numbers, side="right")
    found = numbers - np.array(levels, np.int64)[which]
    return found if bool((np.diff(found) > 0).all()) else None


# -- what is compared --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Traces:
    """Energy and speed along the exposures; the speed goes on beyond both ends by what any shift can reach."""

    energy: Floats
    """NaN where there is none (exposure,)."""
    speed: Floats
    """rad/s, from `lags[0]` exposures before the first on (exposure + lags - 1,)."""
    steady: Floats
    """The speed, squeezed, without what is slow in it; as long."""
    lags: Ints
    """Shifts, from the largest down: the speed from place i on belongs to shift `lags[i]` (place,)."""
    searched: slice
    """Places whose shifts are possible; the others are there to compare with."""
    half: int
    """Half of the span that is slow, exposures."""
    period_s: float
    """Usual time between exposures, s."""

    @classmethod
    def make(cls, energy: Floats, first: int, pulses: Pulses, motion: Motion, late: int, early: int) -> _Traces:
        period = pulses.period_s
        reach, beside = max(1, round(SEARCHED_S / period)), max(2, round(COMPARED_S / period))
        lags = np.arange(beside + late, -beside - early - 1, -1)
        speed = motion.speed_at(pulses.at(np.arange(first - lags[0], first + energy.size - lags[-1])))
        half = max(1, round(_HIGH_PASS_S / period / 2))
        steady = _without_slow(speed / (speed + _HALF_SPEED), np.ones(speed.size), half)
        searched = slice(beside - reach, beside + late + early + reach + 1)
        return cls(energy, speed, steady, lags, searched, half, period)

    def moves(self, window: tuple[int, int]) -> bool:
        """Return whether the wheel turns in a window, at any shift that is possible."""
        return bool(np.count_nonzero(self._within_reach(window) > _MOVING) * self.period_s >= _MOVING_S)

    def correlations(self, window: tuple[int, int]) -> Floats:
        """Return the correlation of energy and speed in a window at every shift. (place,)"""
        ranked, there = self._ranked(window)
        return _correlations(ranked, there, self.steady[window[0] : window[1] + self.lags.size - 1])

    def changes(self, windows: Sequence[tuple[int, int]], places: Ints) -> list[int]:
        """Return the exposure at which each change of the shift explains most of the two windows around it."""
        found: list[int] = []
        for row in np.flatnonzero(np.diff(places)).tolist():
            start, stop = windows[row][0], windows[row + 1][1]
            ranked, _ = self._ranked((start, stop))
            before, after = (self.steady[start + place : stop + place] for place in places[row : row + 2])
            at = start + int(np.argmax(np.cumsum(ranked * (before - after)))) + 1
            found.append(max(at, found[-1] + 1) if found else at)
        return found

    def _ranked(self, window: tuple[int, int]) -> tuple[Floats, Floats]:
        still = float(np.mean(self._within_reach(window) < _STILL))
        return _ranked(self.energy[slice(*window)], still, self.half)

    def _within_reach(self, window: tuple[int, int]) -> Floats:
        return self.speed[window[0] + self.searched.start : window[1] + self.searched.stop - 1]


# -- windows -----------------------------------------------------------------------------------------------


def _on_grid(energy: NDArray[np.floating], numbers: Ints) -> Floats:
    """Return one motion energy per exposure, at the middle one of three; NaN where there is none. (exposure,)

    Two frames with an exposure lost between them are further apart than others, and so differ more.
    """
    out = np.full(int(numbers[-1]) + 1, np.nan)
    whole = np.flatnonzero(numbers[LAG:] - numbers[:-LAG] == LAG)
    out[numbers[whole] + 1] = energy[whole]
    return out


def _windows(n: int, period_s: float) -> tuple[list[tuple[int, int]], int]:
    """Return windows that slide over all exposures, and by how much they do: the last ends with the recording."""
    shortest, longest = _WINDOW_S
    size = min(n, max(2, round(min(max(n * period_s / 8, shortest), longest) / period_s)))
    n_windows = 1 + int(np.ceil(2 * (n - size) / size))
    starts = np.unique(np.rint(np.linspace(0, n - size, n_windows)).astype(np.int64))
    every = int(np.ceil(size / 2)) if starts.size > 1 else size
    return [(int(start), int(start) + size) for start in starts], every


def _covered(windows: Sequence[tuple[int, int]]) -> int:
    """Return how many exposures are in any of some windows, which may overlap."""
    ends = np.array([0, *(stop for _, stop in windows)])
    return sum(stop - max(start, int(end)) for (start, stop), end in zip(windows, ends, strict=False))


def _ranked(values: Floats, still: float, half: int) -> tuple[Floats, Floats]:
    """Return the ranks of energies, from -0.5 to 0.5, without what is slow in them, and 1 where there is one.

    Energies of a wheel that stands are noise and share one rank. For the share of the frames in which it stands, noise
    is what is lowest: its middle and its lower edge tell how far up it goes.
    """
    there = np.isfinite(values)
    low, middle = np.quantile(values[there], [0.05 * still, 0.5 * still])
    above = np.maximum(values[there], middle + _NOISE * (middle - low))
    _, place, counts = np.unique(above, return_inverse=True, return_counts=True)
    out = np.zeros(values.size)
    out[there] = (np.cumsum(counts) - (counts + 1) / 2)[place] / there.sum() - 0.5
    known = there.astype(np.float64)
    return _without_slow(out, known, half), known


def _without_slow(values: Floats, known: Floats, half: int) -> Floats:
    """Take the mean of the known values around off each; zero where none is known."""
    n = values.size
    sums, numbers = (np.concatenate([[0.0], np.cumsum(part)]) for part in (values * known, known))
    at = np.arange(n)
    left, right = np.maximum(at - half, 0), np.minimum(at + half + 1, n)
    mean = (sums[right] - sums[left]) / np.maximum(numbers[right] - numbers[left], 1)
    out: Floats = (values - mean) * known
    return out


def _correlations(energy: Floats, known: Floats, speed: Floats) -> Floats:
    """Return the correlation of energies with the speed at every place that they fit into it.

    Every place counts all energies that are known: there is no padding, which would favour small shifts.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    n_places = speed.size - energy.size + 1
    n, size = known.sum(), next_fast_len(speed.size, real=True)
    of_energy, of_known = rfft(np.stack([energy * known, known]), size).conj()
    of_speed, of_square = rfft(np.stack([speed, speed**2]), size)
    products = np.stack([of_energy * of_speed, of_known * of_speed, of_known * of_square])
    both, sums, squares = irfft(products, size)[:, :n_places]
    total = float((energy * known).sum())
    spread = float((energy**2 * known).sum()) - total**2 / n
    variance = np.maximum(squares - sums**2 / n, 0.0) * max(spread, 0.0)
    # Where the wheel stood, or every energy is the same, there is nothing to compare but rounding errors.
    usable = variance > 1e-9 * variance.max()
    found = np.divide(both - total * sums / n, np.sqrt(variance), out=np.zeros(n_places), where=usable)
    return np.asarray(np.clip(found, -1.0, 1.0))


def _evidence(rows: NDArray[np.float32], every_s: float) -> NDArray[np.float32]:
    """Return by how much each shift makes the energies of a window more likely than none does, natural logarithm.

    Windows overlap, so that each counts for as long as it goes on beyond the one before.
    """
    return np.asarray(-every_s / _CORRELATION_S / 2 * np.log1p(-(np.clip(rows, 0, 0.999) ** 2)), np.float32)


def _best_steps(evidence: NDArray[np.float32]) -> Ints:
    """Return the place in each row that gathers most evidence, where every change costs as much as finding it says.

    A change is one of `windows * places` that could be, so that it must bring more than the logarithm of that.
    """
    n_rows, n_places = evidence.shape
    if not n_rows:
        return np.empty(0, np.int64)
    cost = np.log(n_rows * n_places)
    best = evidence[0].astype(np.float64)
    came_from = np.empty(evidence.shape, np.int32)
    here = np.arange(n_places)
    for row in range(1, n_rows):
        top = int(np.argmax(best))
        jump = best[top] - cost
        came_from[row] = np.where(best >= jump, here, top)
        best = np.maximum(best, jump) + evidence[row]
    steps = np.empty(n_rows, np.int64)
    steps[-1] = np.argmax(best)
    for row in range(n_rows - 1, 0, -1):
        steps[row - 1] = came_from[row, steps[row]]
    return steps


def _along(rows: NDArray[np.float32], steps: Ints) -> tuple[Floats, int]:
    """Return the mean of rows that are moved so that their steps coincide, and the place of the steps in it.

    Only places that at least half of the rows reach are told.
    """
    n_places = rows.shape[1]
    sums, counts = np.zeros(2 * n_places - 1), np.zeros(2 * n_places - 1, np.int64)
    for row, step in zip(rows, steps, strict=True):
        start = n_places - 1 - int(step)
        sums[start : start + n_places] += row
        counts[start : start + n_places] += 1
    told = np.flatnonzero(2 * counts >= steps.size)
    return sums[told[0] : told[-1] + 1] / counts[told[0] : told[-1] + 1], n_places - 1 - int(told[0])


def _confidence(row: NDArray[np.floating], at: int, guard: int) -> float:
    """Return how far a peak stands above all that is not near it, 0 to 1."""
    peak = float(row[at])
    rest = np.concatenate([row[: max(0, at - guard)], row[at + guard + 1 :]])
    rival = float(rest.max()) if rest.size else 0.0
    return float(np.clip(1 - max(rival, 0.0) / peak, 0.0, 1.0)) if peak > 0 else 0.0


def _beside_peak(row: NDArray[np.floating], at: int) -> float:
    """Return where a parabola through a peak and its neighbours is highest, beside it, -0.5 to 0.5."""
    if not 0 < at < row.size - 1:
        return 0.0
    left, top, right = (float(value) for value in row[at - 1 : at + 2])
    bend = left - 2 * top + right
    return float(np.clip((left - right) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


# -- the reference's short alignment -----------------------------------------------------------------------


def active_bout(motion: Motion) -> tuple[float, float] | None:
    """Return start and end of the bout of movement that the reference's check looks at, s; None where there is none.

    Notes
    -----
    As `CameraQC.get_active_wheel_period`: bouts are where the *acceleration* changes by more than 0.1 within 200
    samples, of 3 to 20 s, and the middle one is taken. `brainbox.behavior.wheel.movements` with its defaults; it leaves
    the start of a bout near the end of a recording to chance, here that is computed as the others are.
    """
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    acceleration, times = motion.acceleration, motion.times_s
    ahead = {"size": _BOUT_SPAN, "origin": -(_BOUT_SPAN // 2), "mode": "nearest"}
    moving = np.concatenate(
        [[False], maximum_filter1d(acceleration, **ahead) - minimum_filter1d(acceleration, **ahead) > _BOUT_CHANGE]
    )
    moving[-1] = False
    onsets, offsets = _edges(moving)
    for at in np.flatnonzero((onsets[1:] - offsets[:-1]) * (times[1] - times[0]) < _BOUT_GAP_S):
        moving[offsets[at] : onsets[at + 1] + 1] = True
    onsets, offsets = _edges(moving)
    if not onsets.size:
        return None
    starts = times[np.minimum(onsets + _onset_delay(acceleration, onsets), times.size - 1)]
    ends = times[offsets]
    long_enough = ends - starts >= _BOUT_SHORTEST_S
    starts, ends = starts[long_enough], ends[long_enough]
    if not starts.size:
        return None
    apart = starts[1:] - ends[:-1] >= _BOUT_GAP_S
    starts, ends = starts[np.concatenate([[True], apart])], ends[np.concatenate([apart, [True]])]
    fitting = np.flatnonzero((ends - starts > _BOUT_S[0]) & (ends - starts < _BOUT_S[1]))
    if not fitting.size:
        return None
    chosen = fitting[fitting.size // 2]
    return float(starts[chosen]), float(ends[chosen])


def _edges(moving: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    steps = np.diff(moving.astype(np.int8))
    return np.flatnonzero(steps > 0), np.flatnonzero(steps < 0)


def _onset_delay(values: Floats, onsets: Ints) -> Ints:
    """Return by how many samples each onset is delayed: to the last within the span that is near the first's value."""
    ahead = onsets[:, None] + np.arange(_BOUT_SPAN)
    beyond = ahead >= values.size
    far = np.abs(values[np.minimum(ahead, values.size - 1)] - values[onsets][:, None]) > _BOUT_ONSET
    far[beyond] = False
    trailing = np.argmin(far[:, ::-1], axis=1)
    return np.asarray(_BOUT_SPAN - trailing - 1, np.int64)


def bout_offset(energy: NDArray[np.floating], times_s: Floats, motion: Motion, bout: tuple[float, float]) -> int | None:
    """Return the reference's offset in frames for a bout of movement, positive where the video is late.

    Parameters
    ----------
    energy
        Motion energy of the wheel's region, see `align` (frame,).
    times_s
        Frame times, s on the main clock (frame,).
    motion
        How fast the wheel turned.
    bout
        Start and end, s.

    Returns
    -------
    int or None
        None where fewer than four frames are in the bout, less than half of their energies are known, or nothing moves.

    Notes
    -----
    As `MotionAlignment.align_motion`: both series from 0 to 1, neither without its mean, cross-correlated over their
    whole length. What did not decode is interpolated; the reference takes it for black.
    """
    from scipy.signal import correlate

    start, stop = np.searchsorted(times_s, bout[0], side="left"), np.searchsorted(times_s, bout[1], side="right")
    if stop - start < 2 * LAG:
        return None
    part = np.asarray(energy[start : stop - LAG], np.float64)
    there = np.isfinite(part)
    if 2 * there.sum() < part.size or np.ptp(part[there]) == 0:
        return None
    part = np.interp(np.arange(part.size), np.flatnonzero(there), part[there])
    clock = motion.times_s
    first, last = np.searchsorted(clock, bout[0], side="left"), np.searchsorted(clock, bout[1], side="right")
    after = np.clip(np.searchsorted(clock[first:last], times_s[start:stop]), 1, last - first - 1)
    before = after - 1
    within = clock[first:last]
    nearer = times_s[start:stop] - within[before] <= within[after] - times_s[start:stop]
    speed = np.abs(motion.velocity[first:last][np.unique(np.where(nearer, before, after))])
    if np.ptp(speed) == 0:
        return None
    matched: Floats = correlate(_to_one(part), _to_one(speed))
    return int(np.argmax(matched)) - int(speed.size) + LAG


def _to_one(values: Floats) -> Floats:
    scaled: Floats = (values - values.min()) / np.ptp(values)
    return scaled
