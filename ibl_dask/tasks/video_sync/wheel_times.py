"""Steps that compare the video with the wheel, correct times of which the pulses are unsure, and publish them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import InputError
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.store import alf
from ibl_dask.store.arrays import Array
from ibl_dask.store.marker import read_marker
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import BpodFiles, SyncFiles, read_channels, read_fronts, sync_paths
from ibl_dask.tasks.video_sync.frame_pass import read_motion_energy
from ibl_dask.tasks.video_sync.pulse_times import load_pulse_times, publish_times
from ibl_dask.tasks.video_sync.timing_summary import FramesTimed, TimingSummary
from ibl_dask.timing.alignment.camera_times import Quality
from ibl_dask.timing.clocks.pulses import Pulses
from ibl_dask.timing.tolerance import tolerated_frames
from ibl_dask.timing.wheel.alignment import Alignment, align, corrected_numbers
from ibl_dask.timing.wheel.bout import active_bout, bout_offset
from ibl_dask.timing.wheel.bpod_encoder import read_bpod_wheel
from ibl_dask.timing.wheel.motion import Motion, motion
from ibl_dask.timing.wheel.sources import read_alf_wheel, read_timeline_wheel, wheel_from_fronts, wheel_from_steps
from ibl_dask.timing.wheel.trace import Wheel
from ibl_dask.video.reducers.motion_energy import MotionEnergy

WHEEL_CAMERAS = ("left", "right")
"""Cameras that see the wheel well enough; the body camera's view of it is often obstructed."""
Sources = tuple[tuple[Path, ...], ...]
"""Files that are read together, in order; of each all copies with UUIDs (see `alf.only_one`)."""
_ONE_LINE = "rotary_encoder"
_TWO_LINES = ("rotary_encoder_0", "rotary_encoder_1")
_LONGEST_SEARCH_S = 120.0
"""Surplus pulses beyond this are not searched: where a camera ran two minutes beside its video, do not guess."""


@dataclass(frozen=True, slots=True)
class WheelFiles:
    """Sources of the wheel of a session, in the order in which they are tried.

    The main clock's own record comes first: it is on the clock of the pulses and there from the start, so that results
    do not depend on whether the wheel was extracted before the video.
    """

    sync: SyncFiles | None = None
    """The main clock, if it is a DAQ."""
    timeline: Sources | None = None
    """Samples, times and meta file of a Timeline DAQ."""
    bpod: Sources | None = None
    """Positions and events of the encoder's module, and the Bpod's trials."""
    alf: Sources | None = None
    """Extracted times and positions."""

    def identities(self, workspace: Workspace) -> list[object]:
        """Return the identities of all files; JSON."""
        found = [*(self.timeline or ()), *(self.bpod or ()), *(self.alf or ())]
        if self.sync is not None:
            found += [tuple(paths) for paths in sync_paths(workspace, self.sync).values() if paths]
        return [alf.identities(paths) for paths in found]


def find_wheel(workspace: Workspace, clock: SyncFiles | BpodFiles) -> WheelFiles:
    """Return the files that the wheel may be read from.

    Parameters
    ----------
    workspace
        The session.
    clock
        Files of the main clock.
    """
    session = workspace.session
    timeline: Sources | None = None
    bpod: Sources | None = None
    number = "00"
    if isinstance(clock, BpodFiles):
        number = clock.collection.rpartition("_")[2]
        names = ("_iblrig_encoderPositions.raw.ssv", "_iblrig_encoderEvents.raw.ssv", clock.pattern)
        bpod = _all(alf.find_each(session, clock.collection, name) for name in names)
    elif clock.is_timeline:
        names = ("raw.npy", "timestamps.npy", "meta.json")
        timeline = _all(alf.find_each(session, clock.collection, f"_timeline_DAQdata.{name}") for name in names)
    pairs = (
        _all(alf.find_each(session, collection, f"_ibl_wheel.{part}.npy") for part in ("timestamps", "position"))
        for collection in ("alf", f"alf/task_{number}")
    )
    extracted = next((pair for pair in pairs if pair is not None), None)
    return WheelFiles(clock if isinstance(clock, SyncFiles) else None, timeline, bpod, extracted)


def _all(found: Iterable[Sequence[Path]]) -> Sources | None:
    sources = tuple(tuple(paths) for paths in found)
    return sources if all(sources) else None


def _read(function: Callable[..., Wheel | None], sources: Sources) -> Wheel | None:
    return function(*map(alf.only_one, sources))


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleTimes(Step):
    """Compare the video with the wheel, and publish the times: by the wheel where the pulses leave doubt."""

    kind: ClassVar[str] = "wheel"
    version: ClassVar[int] = 2
    allow_failed: ClassVar[tuple[str, ...]] = ("passes",)
    result_form: ClassVar[type[Result]] = FramesTimed

    workspace: Workspace
    """The session."""
    described: Camera
    """The camera as described."""
    files: WheelFiles
    """Files of the wheel."""
    files_identity: Sequence[object]
    """Their identities; JSON."""
    reducer: MotionEnergy | None
    """Measures the motion energy of the wheel's region; None where it is not measured."""
    chunks: tuple[Chunk, ...]
    """Chunks of the video."""
    is_fresh: bool
    """True where the chunks hold the motion energy, False where the per-frame store does."""
    index: StepKey
    """Indexes the video."""
    times: StepKey
    """Times the frames by the pulses."""
    passes: tuple[StepKey, ...] = ()
    """Measure the chunks."""

    def identity(self) -> Mapping[str, object]:
        energy = None if self.reducer is None else self.reducer.fingerprint()
        return {"wheel": self.files_identity, "energy": energy, "parents": [self.times.fingerprint]}

    def run(self, upstream: Upstream) -> FramesTimed:
        workspace, camera = self.workspace, self.described
        content, timing = load_pulse_times(workspace.pulse_times_file(camera.label))
        if camera.label not in WHEEL_CAMERAS:
            why = "this camera does not see the wheel well enough"
            return publish_times(workspace, camera, content, timing, {"why_not": why})
        if self.reducer is None:
            return publish_times(workspace, camera, content, timing, {"why_not": "its motion energy was not measured"})
        if not all(upstream[key].is_ok for key in self.passes):
            why = "the video was not decoded to its end"
            return publish_times(workspace, camera, content, timing, {"why_not": why})
        wheel, failed = read_wheel(workspace, self.files)
        turned = None if wheel is None else motion(wheel)
        timing = replace(timing, notes=(*timing.notes, *failed))
        if wheel is None or turned is None:
            return publish_times(workspace, camera, content, timing, {"why_not": "no wheel was recorded"})
        energy = read_motion_energy(workspace, camera.label, self.chunks, self.reducer, is_fresh=self.is_fresh)
        compared = _Comparison(content, timing, energy, turned)
        if timing.method == "counts":
            compared = compared.corrected()
        findings = {"source": wheel.source, **compared.findings()}
        return publish_times(workspace, camera, compared.content, compared.timing, findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishWithoutPixels(Step):
    """Publish the times by the pulses alone, unless a run with the wheel settled them before."""

    kind: ClassVar[str] = "wheel"

    workspace: Workspace
    """The session."""
    described: Camera
    """The camera as described."""
    settled_marker: Path
    """Marker of the step that settles the times with the wheel."""
    settled_fingerprint: str
    """Fingerprint of that step."""
    times: StepKey
    """Times the frames by the pulses."""

    def identity(self) -> Mapping[str, object]:
        return {"without": "pixels", "parents": [self.settled_fingerprint]}

    def run(self, upstream: Upstream) -> FramesTimed:
        workspace = self.workspace
        value = read_marker(self.settled_marker, self.settled_fingerprint, workspace.session.outputs)
        if value is not None:
            return replace(FramesTimed.from_json(value), is_kept=True)
        content, timing = load_pulse_times(workspace.pulse_times_file(self.described.label))
        return publish_times(workspace, self.described, content, timing, {"why_not": "the video was not decoded"})


def read_wheel(workspace: Workspace, files: WheelFiles) -> tuple[Wheel | None, list[str]]:
    """Return the wheel from the first source that has one, and remarks on the sources before it."""
    sources: list[tuple[str, Callable[[], Wheel | None]]] = []
    if files.timeline is not None:
        sources.append(("timeline", partial(_read, read_timeline_wheel, files.timeline)))
    if files.sync is not None:
        sources.append(("the sync", partial(_wheel_of_lines, workspace, files.sync)))
    if files.bpod is not None:
        sources.append(("the Bpod's encoder", partial(_read, read_bpod_wheel, files.bpod)))
    if files.alf is not None:
        sources.append(("ALF", partial(_read, read_alf_wheel, files.alf)))
    if files.sync is not None:
        sources.append(("the sync's counter", partial(_wheel_of_directions, workspace, files.sync)))
    notes: list[str] = []
    for name, read in sources:
        try:
            wheel = read()
        except InputError as error:
            notes.append(f"the wheel cannot be read from {name}: {error.what} ({error.where})")
            continue
        if wheel is not None and len(wheel) > 1:
            return wheel, [*notes, *wheel.notes]
    return None, notes


def _wheel_of_lines(workspace: Workspace, sync: SyncFiles) -> Wheel | None:
    fronts = read_fronts(workspace, sync)
    channels = read_channels(workspace, sync, fronts)
    if not all(name in channels for name in _TWO_LINES):
        return None
    return wheel_from_fronts(*(fronts.fronts(channels[name]) for name in _TWO_LINES))


def _wheel_of_directions(workspace: Workspace, sync: SyncFiles) -> Wheel | None:
    fronts = read_fronts(workspace, sync)
    channels = read_channels(workspace, sync, fronts)
    return wheel_from_steps(fronts.fronts(channels[_ONE_LINE])) if _ONE_LINE in channels else None


@dataclass(frozen=True, eq=False)
class _Comparison:
    """Times of a camera beside the motion of the wheel."""

    content: Mapping[str, Array]
    """See `TimeCamera.keep`."""
    timing: TimingSummary
    """How the times were obtained."""
    energy: NDArray[np.floating]
    """Motion energy of the wheel's region (frame,)."""
    motion: Motion
    alignment: Alignment | None = None
    """Alignment with the wheel; computed anew where it is None."""

    @property
    def exposures(self) -> Pulses:
        return Pulses(self.content["exposures_s"], self.content["measured"])

    def aligned(self, late: int = 0, early: int = 0) -> Alignment:
        return align(self.energy, self.exposures, self.content["numbers"], self.motion, late, early)

    def corrected(self) -> _Comparison:
        """Return times corrected by the wheel where it is confident, else these times, with a note either way."""
        period = self.timing.period_s
        found = self.aligned(*self._searched(round(_LONGEST_SEARCH_S / period)))
        if not found.is_confident:
            return self._noted(f"the wheel does not say which pulse belongs to which frame: {found.why_not}", found)
        numbers = corrected_numbers(self.content["numbers"], found)
        if numbers is None:
            text = f"by {int(found.steps.min()):+,} to {int(found.steps.max()):+,} frames"
            return self._noted(
                f"video and wheel are apart {text}, as no loss of frames explains; nothing was moved", found
            )
        if not found.steps.any():
            text = "the wheel confirms that the pulses belong to these frames, to within a frame"
            return self._confirmed()._noted(text, found)
        exposures = self.exposures
        outside = int(np.count_nonzero((numbers < 0) | (numbers >= len(exposures))))
        allowed = max(tolerated_frames(numbers.size, period), self._n_outside())
        if outside > allowed:
            text = f"{outside:,} frames would have no pulse, where {allowed:,} may"
            return self._noted(
                f"the wheel says {found.shift_frames:+.1f} frames, but then {text}; nothing was moved", found
            )
        moved = self._moved(numbers, found)
        after = moved.aligned()
        if not after.is_confident or abs(after.shift_frames) > 1:
            return self._noted("times by the wheel do not agree with it better; nothing was moved", found)
        return replace(moved, alignment=after)

    def findings(self) -> dict[str, object]:
        """Return the numbers that are published of the comparison; JSON."""
        found = self.alignment or self.aligned()
        times = self.content["times_s"]
        bout = active_bout(self.motion)
        offset = None if bout is None else bout_offset(self.energy, times, self.motion, bout)
        return {
            "offset_frames": offset,
            "bout_s": None if bout is None else list(bout),
            "overlaps": bool(times[-1] > self.motion.start_s and times[0] < self.motion.stop_s),
            "shift_frames": _finite(found.shift_frames),
            "shift_s": _finite(found.shift_s),
            "peak": found.peak,
            "confidence": found.confidence,
            "agreeing": found.agreeing,
            "is_confident": found.is_confident,
            "why_not": found.why_not,
            "n_windows": found.n_windows,
            "n_still": found.n_still,
            "n_unknown": found.n_unknown,
        }

    def _confirmed(self) -> _Comparison:
        """Return the same times, no longer as assumed: the wheel confirmed them."""
        quality = self.content["pulse_quality"]
        timing = replace(
            self.timing,
            assumed="",
            n_assumed=0,
            n_not_measured=int(np.count_nonzero(quality)),
            hint=self.timing.hint_if_confirmed,
            flagged=bool(quality.any()),
        )
        return replace(self, content={**self.content, "quality": quality}, timing=timing)

    def _searched(self, most: int) -> tuple[int, int]:
        """Return by how many exposures frames may be late and early: where pulses are left over or missing.

        Those left over at the start may be of these frames after all, and those missing at the end may be missing at
        the start instead: then the frames are late; the other way round they are early.
        """
        late = self.timing.n_surplus_start + self.timing.n_missing_end
        early = self.timing.n_surplus_end + self.timing.n_missing_start
        return min(late, most), min(early, most)

    def _n_outside(self) -> int:
        return self.timing.n_missing_start + self.timing.n_missing_end

    def _noted(self, note: str, found: Alignment) -> _Comparison:
        return replace(self, timing=replace(self.timing, notes=(*self.timing.notes, note)), alignment=found)

    def _moved(self, numbers: NDArray[np.int64], found: Alignment) -> _Comparison:
        """Return these frames with other pulses, none of which is less measured for that."""
        exposures = self.exposures
        times = exposures.at(numbers)
        inside = (numbers >= 0) & (numbers < len(exposures))
        quality = np.full(numbers.size, Quality.EXTRAPOLATED, np.uint8)
        quality[inside] = np.where(exposures.measured[numbers[inside]], Quality.MEASURED, Quality.INTERPOLATED)
        first, last = int(numbers[0]), int(numbers[-1])
        steps = [int(found.steps[0]), *(int(found.steps[i + 1]) for i in np.flatnonzero(np.diff(found.steps)))]
        text = ", then ".join(f"{step:+,}" for step in steps)
        note = (
            f"frames were moved by the wheel, which video and pulses were apart from by {text} frames "
            f"(confidence {found.confidence:.2f})"
        )
        timing = replace(
            self.timing,
            method="wheel",
            start=first,
            n_surplus_start=min(max(first, 0), len(exposures)),
            n_surplus_end=max(len(exposures) - last - 1, 0),
            n_missing_start=int(np.count_nonzero(numbers < 0)),
            n_missing_end=int(np.count_nonzero(numbers >= len(exposures))),
            n_dropped=last - first + 1 - numbers.size,
            n_not_measured=int(np.count_nonzero(quality)),
            assumed="",
            n_assumed=0,
            notes=(*self.timing.notes, note),
            hint=max(Outcome[self.timing.hint_if_confirmed], Outcome.WARNING).name,
            flagged=bool(quality.any()),
        )
        return replace(
            self,
            content={
                **self.content,
                "times_s": times,
                "quality": quality,
                "pulse_quality": quality,
                "numbers": numbers,
            },
            timing=timing,
        )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
