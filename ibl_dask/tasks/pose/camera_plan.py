"""Plan of the steps that estimate the pose of one camera."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.step import Resources, Step, StepKey
from ibl_dask.store.marker import read_marker
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.pose.chunk_steps import EstimateChunk
from ibl_dask.tasks.pose.engine_steps import OpenEngines
from ibl_dask.tasks.pose.join_steps import JoinPoses
from ibl_dask.tasks.pose.members import CameraNetworks
from ibl_dask.tasks.pose.motion_steps import FindMotionRegion, MeasureMotion, PublishMotion
from ibl_dask.tasks.pose.record import PoseRecord
from ibl_dask.tasks.pose.whole_video import EstimateWhole, takes_whole_videos
from ibl_dask.tasks.pose.window_steps import FindPlaces
from ibl_dask.video.chunking import plan_chunks
from ibl_dask.video.container.summary import ContainerSummary

LARGEST_PIXELS = 5_000_000_000
"""Largest chunk, pixels: 3,800 frames of 1280x1024. Twice that of the frame pass: a halo costs decoding from the
keyframe before the chunk."""
SMALLEST_PIXELS = 960_000_000
"""Smallest chunk, pixels: 730 frames of 1280x1024."""
MEMORY_GB = 2.0
"""Memory of a step with engines, GB: pictures made ahead, a batch, and the engines' own process on the CPU."""
SMOOTHER_GB, SMOOTHER_GB_PER_FRAME = 1.6, 6e-6
"""Memory of a step that smooths an ensemble, GB: 2.1 GB in the smoother for an hour of 150 Hz and five members, and as
much here."""


def choose_pose_chunks(outline: ContainerSummary, chunk_pixels: int | None) -> tuple[Chunk, ...]:
    """Return the chunks in which poses are estimated.

    Parameters
    ----------
    outline : ContainerSummary
        Frames, size and keyframes of the video.
    chunk_pixels : int or None
        Size of all chunks, pixels, in place of the sizes above.
    """
    area = outline.width * outline.height
    largest, smallest = (chunk_pixels, chunk_pixels) if chunk_pixels else (LARGEST_PIXELS, SMALLEST_PIXELS)
    return plan_chunks(outline.keyframes, outline.n_frames, max(1, largest // area), max(1, smallest // area))


def fresh_networks(networks: CameraNetworks, record: PoseRecord | None) -> tuple[str, ...]:
    """Return the names of the networks whose columns the published table lacks, or has of other parameters.

    Parameters
    ----------
    networks : CameraNetworks
        Networks of the camera.
    record : PoseRecord or None
        Record of the published table.
    """
    known = {} if record is None else record.networks
    return tuple(
        network.name
        for network in networks.networks
        if known.get(network.name, {}).get("fingerprint") != networks.network_fingerprint(network)
    )


@dataclass(frozen=True, kw_only=True)
class CameraPosePlan:
    """Steps of one camera."""

    workspace: Workspace
    """The session."""
    networks: CameraNetworks
    """Networks of the camera."""
    video: Path
    """The video."""
    chunks: tuple[Chunk, ...]
    """Chunks of the video."""
    motion_chunks: tuple[Chunk, ...]
    """Chunks for the motion energy, which is measured on CPUs."""
    fresh: tuple[str, ...]
    """Networks whose values are to be computed."""
    index: StepKey
    """Step that indexes the video."""
    resources: Resources
    """Occupied by steps without engines."""

    @property
    def steps(self) -> list[Step]:
        """Return all steps: engines, windows, chunks, table, motion energy; only those that are left to do."""
        if takes_whole_videos(self.networks):
            return [self.join, *self.motion]
        engines = [] if self.opening is None else [self.opening]
        return [*engines, *self.locating, *self.passes, self.join, *self.motion]

    @property
    def infer_resources(self) -> Resources:
        """Return what a step with engines occupies; a machine whose workers offer no GPU runs it all the same."""
        n_gpus = 1 if self.networks.declared.device == "cuda" else 0
        return Resources(cpu=1, gpu=n_gpus, memory_gb=MEMORY_GB, is_estimate=True)

    @property
    def join_resources(self) -> Resources:
        """Return what joining the chunks occupies, the process of a smoother included."""
        declared, fresh = self.networks.declared, set(self.fresh)
        if not any(n.name in fresh and declared.smoothing_of(n) is not None for n in self.networks.networks):
            return self.resources
        n_frames = self.chunks[-1].stop if self.chunks else 0
        return replace(self.resources, memory_gb=SMOOTHER_GB + SMOOTHER_GB_PER_FRAME * n_frames, is_estimate=True)

    @cached_property
    def opening(self) -> OpenEngines | None:
        """Return the step that opens the engines; None where nothing is fresh."""
        if not self.fresh:
            return None
        return OpenEngines(
            session=self.index.session,
            camera=self.networks.label,
            resources=self.infer_resources,
            networks=self.networks,
        )

    @cached_property
    def locating(self) -> tuple[FindPlaces, ...]:
        """Return the steps that find the places of windows."""
        networks, label = self.networks, self.networks.label
        if not self.fresh:
            return ()
        return tuple(
            FindPlaces(
                session=self.index.session,
                camera=label,
                resources=self.infer_resources,
                marker=self.workspace.marker(f"{networks.attribute}_places_{number}-{label}"),
                workspace=self.workspace,
                video=self.video,
                settings=settings,
                view=networks.view,
                device=networks.declared.device,
                anchors=networks.anchors_of(settings),
                found=networks.located_fingerprint(settings),
                index=self.index,
            )
            for number, settings in enumerate(networks.locators)
        )

    @cached_property
    def passes(self) -> tuple[EstimateChunk, ...]:
        """Return the steps that estimate the chunks; none where nothing is fresh."""
        if self.opening is None:
            return ()
        make = partial(
            EstimateChunk,
            session=self.index.session,
            camera=self.networks.label,
            resources=self.infer_resources,
            workspace=self.workspace,
            video=self.video,
            networks=self.networks,
            fresh=self.fresh,
            index=self.index,
            engines=self.opening.key,
            places=tuple(step.key for step in self.locating),
        )
        return tuple(make(frames=chunk, chunk=number) for number, chunk in enumerate(self.chunks))

    @cached_property
    def join(self) -> JoinPoses | EstimateWhole:
        """Return the step that publishes the table."""
        networks, label = self.networks, self.networks.label
        if self.fresh and takes_whole_videos(networks):
            return EstimateWhole(
                session=self.index.session,
                camera=label,
                resources=self.infer_resources,
                marker=self.workspace.marker(f"{networks.attribute}_keypoints-{label}"),
                workspace=self.workspace,
                networks=networks,
                index=self.index,
            )
        return JoinPoses(
            session=self.index.session,
            camera=label,
            resources=self.join_resources,
            marker=self.workspace.marker(f"{networks.attribute}_keypoints-{label}"),
            workspace=self.workspace,
            networks=networks,
            chunks=self.chunks if self.fresh else (),
            fresh=self.fresh,
            index=self.index,
            engines=None if self.opening is None else self.opening.key,
            places=tuple(step.key for step in self.locating),
            passes=tuple(step.key for step in self.passes),
        )

    @cached_property
    def motion(self) -> tuple[Step, ...]:
        """Return the steps of the motion energy: one to find it published, or those that measure it."""
        label, attribute = self.networks.label, self.networks.attribute
        common: dict[str, Any] = {"session": self.index.session, "camera": label, "resources": self.resources}
        publish = partial(
            PublishMotion,
            **common,
            marker=self.workspace.marker(f"{attribute}_energy-{label}"),
            workspace=self.workspace,
            attribute=attribute,
            keypoints=self.join.key,
        )
        kept = publish(chunks=())
        root = self.workspace.session.outputs
        if not self.fresh and kept.marker is not None and read_marker(kept.marker, kept.fingerprint, root) is not None:
            return (kept,)
        region = FindMotionRegion(**common, workspace=self.workspace, attribute=attribute, keypoints=self.join.key)
        measure = partial(
            MeasureMotion,
            **common,
            workspace=self.workspace,
            attribute=attribute,
            video=self.video,
            index=self.index,
            region=region.key,
        )
        passes = tuple(measure(frames=chunk, chunk=number) for number, chunk in enumerate(self.motion_chunks))
        last = publish(
            chunks=self.motion_chunks, index=self.index, region=region.key, passes=tuple(step.key for step in passes)
        )
        return (region, *passes, last)
