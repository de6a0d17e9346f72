"""Plan of the steps that time and measure one camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.model.step import Resources, Step, StepKey
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.video_sync.frame_pass import MergeChunks, PassChunk
from ibl_dask.tasks.video_sync.pulse_times import TimeCamera
from ibl_dask.tasks.video_sync.timing_route import Timing
from ibl_dask.tasks.video_sync.wheel_times import PublishWithoutPixels, SettleTimes, find_wheel
from ibl_dask.video.reducers.motion_energy import MotionEnergy
from ibl_dask.video.reducers.protocol import Reducer


@dataclass(frozen=True, kw_only=True)
class CameraPlan:
    """Steps of one camera, from its video and the route of its times."""

    workspace: Workspace
    """The session."""
    described: Camera
    """The camera as described."""
    route: Timing
    """How it is timed."""
    resources: Resources
    """Occupied by each step."""
    index: StepKey
    """Step that indexes the video."""
    video_identity: Mapping[str, object]
    """Identity of the video."""
    reducers: tuple[Reducer, ...]
    """All reducers of the camera."""
    video: Path = Path()
    """The video; only the frame pass needs it."""
    chunks: tuple[Chunk, ...] = ()
    """Chunks of the video."""
    fresh: tuple[str, ...] = ()
    """Names of the reducers whose values are to be computed."""

    @property
    def steps(self) -> list[Step]:
        """Return all steps: times by the pulses, frame pass, published times, per-frame store."""
        return [self.times, *self.passes, self.wheel, self.merge]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprints of the steps that leave a marker, by the names of the markers."""
        return {step.name: step.fingerprint for step in (self.times, self.wheel, self.merge)}

    @cached_property
    def times(self) -> TimeCamera:
        """Return the step that times the frames by the pulses."""
        return self.route.make_step(
            **self._shared("times"),
            described=self.described,
            video_identity=self.video_identity,
            inputs=self.route.inputs(self.workspace, self.described),
            index=self.index,
        )

    @cached_property
    def passes(self) -> tuple[PassChunk, ...]:
        """Return the steps that measure the chunks; none where the store holds every value."""
        new = tuple(reducer for reducer in self.reducers if reducer.name in self.fresh)
        make = partial(
            PassChunk,
            session=self.index.session,
            camera=self.described.label,
            resources=self.resources,
            workspace=self.workspace,
            video=self.video,
            video_identity=self.video_identity,
            reducers=new,
            reducer_fingerprints=self._reducer_fingerprints,
            index=self.index,
        )
        return tuple(make(frames=chunk, chunk=number) for number, chunk in enumerate(self.chunks if new else ()))

    @cached_property
    def wheel(self) -> SettleTimes:
        """Return the step that compares the times with the wheel, and publishes them."""
        files = find_wheel(self.workspace, self.route.clock)
        energy = next((r for r in self.reducers if isinstance(r, MotionEnergy) and r.label == "wheel"), None)
        return SettleTimes(
            **self._shared("wheel"),
            described=self.described,
            files=files,
            files_identity=files.identities(self.workspace),
            reducer=energy,
            chunks=self.chunks,
            is_fresh=energy is not None and energy.name in self.fresh,
            index=self.index,
            times=self.times.key,
            passes=tuple(step.key for step in self.passes),
        )

    @cached_property
    def merge(self) -> MergeChunks:
        """Return the step that writes the per-frame store."""
        return MergeChunks(
            **self._shared("frames"),
            video_identity=self.video_identity,
            chunks=self.chunks,
            reducers=self.reducers,
            reducer_fingerprints=self._reducer_fingerprints,
            fresh=self.fresh,
            index=self.index,
            wheel=self.wheel.key,
            passes=tuple(step.key for step in self.passes),
        )

    def without_pixels(self) -> PublishWithoutPixels:
        """Return the step that publishes times without the wheel, in place of the one that settles them with it."""
        return PublishWithoutPixels(
            session=self.index.session,
            camera=self.described.label,
            resources=self.resources,
            workspace=self.workspace,
            described=self.described,
            settled_marker=self.workspace.marker(self.wheel.name),
            settled_fingerprint=self.wheel.fingerprint,
            times=self.times.key,
        )

    @cached_property
    def _reducer_fingerprints(self) -> dict[str, str]:
        return {reducer.name: reducer.fingerprint() for reducer in self.reducers}

    def _shared(self, kind: str) -> dict[str, Any]:  # arguments of any step
        label = self.described.label
        return {
            "session": self.index.session,
            "camera": label,
            "resources": self.resources,
            "workspace": self.workspace,
            "marker": self.workspace.marker(f"{kind}-{label}"),
        }
