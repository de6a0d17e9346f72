"""Compare the video with the wheel, let the wheel correct times that nothing else tells, and publish them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import InputError
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.model.outcome import Outcome
from ibl_dask.store import alf
from ibl_dask.store.marker import read_marker
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.session_files import BpodFiles, Facts, Records, SyncFiles, read_channels, read_fronts, sync_paths
from ibl_dask.tasks.video_sync.frame_pass import read_motion_energy
from ibl_dask.tasks.video_sync.pulse_times import load_pulse_times, publish_times
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

CAMERAS = ("left", "right")
"""Cameras that see the wheel well enough; the body camera's view of it is often obstructed."""
Sources = tuple[tuple[Path, ...], ...]
"""Files that are read together, in order; of each all that stand for one another (see `alf.only_one`)."""
_ONE_LINE = "rotary_encoder"
_TWO_LINES = ("rotary_encoder_0", "rotary_encoder_1")
_LONGEST_SEARCH_S = 120.0
"""Surplus pulses beyond this are not searched: where a camera ran two minutes beside its video, do not guess."""


@dataclass(frozen=True, slots=True)
class WheelFiles:
    """Where the wheel of a session may be read from, in the order in which it is tried.

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
    """Times and positions as somebody extracted them."""

    def identities(self, workspace: Workspace) -> list[Any]:
        """Return what changes whenever the wheel would; JSON."""
        found = [*(self.timeline or ()), *(self.bpod or ()), *(self.alf or ())]
        if self.sync is not None:
            found += [tuple(paths) for paths in sync_paths(workspace, self.sync).values() if paths]
        return [alf.identities(paths) for paths in found]


def find_wheel(workspace: Workspace, clock: Mapping[str, Any]) -> WheelFiles:
    """Return where the wheel may be read from.

    Parameters
    ----------
    workspace
        The session.
    clock
        Arguments of the step that times the camera: `sync` or `bpod` say what the main clock is.
    """
    session = workspace.session
    sync, bpod = clock.get("sync"), clock.get("bpod")
    number = "00"
    found: dict[str, Any] = {}
    if isinstance(sync, SyncFiles):
        found["sync"] = sync
        if sync.is_timeline:
            names = ("raw.npy", "timestamps.npy", "meta.json")
            found["timeline"] = _all(
                alf.find_each(session, sync.collection, f"_timeline_DAQdata.{name}") for name in names
            )
    if isinstance(bpod, BpodFiles):
        number = bpod.collection.rpartition("_")[2]
        names = ("_iblrig_encoderPositions.raw.ssv", "_iblrig_encoderEvents.raw.ssv", bpod.pattern)
        found["bpod"] = _all(alf.find_each(session, bpod.collection, name) for name in names)
    for collection in ("alf", f"alf/task_{number}"):
        pair = _all(alf.find_each(session, collection, f"_ibl_wheel.{part}.npy") for part in ("timestamps", "position"))
        if pair is not None:
            found["alf"] = pair
            break
    return WheelFiles(**found)


def _all(found: Iterable[Sequence[Path]]) -> Sources | None:
    sources = tuple(tuple(paths) for paths in found)
    return sources if all(sources) else None


def _read(function: Callable[..., Wheel | None], sources: Sources) -> Wheel | None:
    return function(*map(alf.only_one, sources))


def settle_times(
    *,
    records: Records,
    workspace: Workspace,
    camera: Camera,
    files: WheelFiles,
    chunks: Sequence[Chunk],
    reducer: MotionEnergy | None,
    is_fresh: bool,
) -> Facts:
    """Compare the video with the wheel, and publish the times: those of the pulses, or the wheel's where these guess.

    Parameters
    ----------
    files
        Where the wheel may be read from.
    chunks, reducer, is_fresh
        Where the motion energy of the wheel's region is: in the results of these chunks if it is fresh, else in the
        per-frame store; without a reducer nobody measured it.
    """
    content, facts = load_pulse_times(workspace.pulse_times_file(camera.label))
    if camera.label not in CAMERAS:
        return _publish(
            workspace, camera, content, facts, {"why_not": "this camera does not see the wheel well enough"}
        )
    if reducer is None:
        return _publish(workspace, camera, content, facts, {"why_not": "its motion energy was not measured"})
    if any(r.key[0].startswith("framepass") and not r.is_ok for r in records.values()):
        return _publish(workspace, camera, content, facts, {"why_not": "the video was not decoded to its end"})
    wheel, failed = read_wheel(workspace, files)
    turned = None if wheel is None else motion(wheel)
    facts = {**facts, "notes": [*facts["notes"], *failed]}
    if wheel is None or turned is None:
        return _publish(workspace, camera, content, facts, {"why_not": "no wheel was recorded"})
    energy = read_motion_energy(workspace, camera.label, chunks, reducer, is_fresh=is_fresh)
    looked = _Look(content, facts, energy, turned)
    if facts["method"] == "counts":
        looked = looked.corrected()
    return _publish(workspace, camera, looked.content, looked.facts, {"source": wheel.source, **looked.findings()})


def publish_without_pixels(
    *, records: Records, workspace: Workspace, camera: Camera, settled: tuple[Path, str]
) -> Facts:
    """Publish the times as the pulses alone tell them, unless a run with the wheel settled them before.

    Parameters
    ----------
    settled
        Marker and fingerprint of the step that settles them.
    """
    value = read_marker(*settled, workspace.session.outputs)
    if value is not None:
        return {**value, "kept": True}
    content, facts = load_pulse_times(workspace.pulse_times_file(camera.label))
    return _publish(workspace, camera, content, facts, {"why_not": "the video was not decoded"})


def read_wheel(workspace: Workspace, files: WheelFiles) -> tuple[Wheel | None, list[str]]:
    """Return the wheel from the first source that has one, and what there is to say of those before it."""
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
class _Look:
    """Times of a camera, and what the wheel says of them."""

    content: Mapping[str, NDArray[Any]]
    """See `pulse_times.py: _keep`."""
    facts: Mapping[str, Any]
    energy: NDArray[np.floating]
    """Motion energy of the wheel's region (frame,)."""
    motion: Motion
    alignment: Alignment | None = None
    """Where the wheel puts these times; looked at anew where it is None."""

    @property
    def exposures(self) -> Pulses:
        return Pulses(self.content["exposures_s"], self.content["measured"])

    def aligned(self, late: int = 0, early: int = 0) -> Alignment:
        return align(self.energy, self.exposures, self.content["numbers"], self.motion, late, early)

    def corrected(self) -> _Look:
        """Return the times that the wheel tells where it is sure of them, else these, with a note either way."""
        period = float(self.facts["period_s"])
        found = self.aligned(*self._searched(round(_LONGEST_SEARCH_S / period)))
        if not found.is_confident:
            return self._noted(f"the wheel does not say which pulse belongs to which frame: {found.why_not}", found)
        numbers = corrected_numbers(self.content["numbers"], found)
        if numbers is None:
            told = f"by {int(found.steps.min()):+,} to {int(found.steps.max()):+,} frames"
            return self._noted(
                f"video and wheel are apart {told}, as no loss of frames explains; nothing was moved", found
            )
        if not found.steps.any():
            told = "the wheel confirms that the pulses belong to these frames, to within a frame"
            return self._confirmed()._noted(told, found)
        exposures = self.exposures
        outside = int(np.count_nonzero((numbers < 0) | (numbers >= len(exposures))))
        allowed = max(tolerated_frames(numbers.size, period), self._n_outside())
        if outside > allowed:
            told = f"{outside:,} frames would have no pulse, where {allowed:,} may"
            return self._noted(
                f"the wheel says {found.shift_frames:+.1f} frames, but then {told}; nothing was moved", found
            )
        moved = self._moved(numbers, found)
        after = moved.aligned()
        if not after.is_confident or abs(after.shift_frames) > 1:
            return self._noted("times by the wheel do not agree with it better; nothing was moved", found)
        return replace(moved, alignment=after)

    def findings(self) -> dict[str, Any]:
        """Return what is published of the comparison; JSON."""
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

    def _confirmed(self) -> _Look:
        """Return these times as what they are if frames are where they are taken to be."""
        quality = self.content["pulse_quality"]
        facts = {
            **self.facts,
            "assumed": "",
            "n_assumed": 0,
            "n_not_measured": int(np.count_nonzero(quality)),
            "hint": self.facts["hint_if_confirmed"],
            "flagged": bool(quality.any()),
        }
        return replace(self, content={**self.content, "quality": quality}, facts=facts)

    def _searched(self, most: int) -> tuple[int, int]:
        """Return by how many exposures frames may be late and early: where pulses are left over or missing.

        Those left over at the start may be of these frames after all, and those missing at the end may be missing at
        the start instead: then the frames are late; the other way round they are early.
        """
        late = int(self.facts["n_surplus_start"]) + int(self.facts["n_missing_end"])
        early = int(self.facts["n_surplus_end"]) + int(self.facts["n_missing_start"])
        return min(late, most), min(early, most)

    def _n_outside(self) -> int:
        return int(self.facts["n_missing_start"]) + int(self.facts["n_missing_end"])

    def _noted(self, note: str, found: Alignment) -> _Look:
        return replace(self, facts={**self.facts, "notes": [*self.facts["notes"], note]}, alignment=found)

    def _moved(self, numbers: NDArray[np.int64], found: Alignment) -> _Look:
        """Return these frames with other pulses, none of which is less measured for that."""
        exposures = self.exposures
        times = exposures.at(numbers)
        inside = (numbers >= 0) & (numbers < len(exposures))
        quality = np.full(numbers.size, Quality.EXTRAPOLATED, np.uint8)
        quality[inside] = np.where(exposures.measured[numbers[inside]], Quality.MEASURED, Quality.INTERPOLATED)
        first, last = int(numbers[0]), int(numbers[-1])
        steps = [int(found.steps[0]), *(int(found.steps[i + 1]) for i in np.flatnonzero(np.diff(found.steps)))]
        told = ", then ".join(f"{step:+,}" for step in steps)
        note = (
            f"frames were moved by the wheel, which video and pulses were apart from by {told} frames "
            f"(confidence {found.confidence:.2f})"
        )
        facts = {
            **self.facts,
            "method": "wheel",
            "start": first,
            "n_surplus_start": min(max(first, 0), len(exposures)),
            "n_surplus_end": max(len(exposures) - last - 1, 0),
            "n_missing_start": int(np.count_nonzero(numbers < 0)),
            "n_missing_end": int(np.count_nonzero(numbers >= len(exposures))),
            "n_dropped": last - first + 1 - numbers.size,
            "n_not_measured": int(np.count_nonzero(quality)),
            "assumed": "",
            "n_assumed": 0,
            "notes": [*self.facts["notes"], note],
            "hint": max(Outcome[self.facts["hint_if_confirmed"]], Outcome.WARNING).name,
            "flagged": bool(quality.any()),
        }
        return replace(
            self,
            content={
                **self.content,
                "times_s": times,
                "quality": quality,
                "pulse_quality": quality,
                "numbers": numbers,
            },
            facts=facts,
        )


def _publish(
    workspace: Workspace,
    camera: Camera,
    content: Mapping[str, NDArray[Any]],
    facts: Mapping[str, Any],
    wheel: Mapping[str, Any],
) -> Facts:
    names = ("quality", "pulse_quality", "residual_frames", "residuals_s")
    details = {name: content[name] for name in names}
    published = publish_times(workspace, camera, content["times_s"], details, {**facts, "wheel": dict(wheel)})
    return {"frames": int(content["times_s"].size), **published}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
