"""Motion energy of the region that the keypoints of the whole video define: found, measured by chunks, published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.region import Region
from ibl_dask.model.result import Result, Work, WorkKind
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.motion_region import EYE, NOSE, TAIL, motion_region, region_position
from ibl_dask.store import alf
from ibl_dask.store.arrays import Array
from ibl_dask.store.results import ChunkLayout, ChunkResult, commit_chunk, find_chunk, require_chunk
from ibl_dask.store.tables import read_table
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.pose.join_steps import require_tiling
from ibl_dask.tasks.pose.record import published_table
from ibl_dask.tasks.video_sync.frame_pass import staying_the_same
from ibl_dask.video.reducers.roi_motion_energy import RoiMotionEnergy

LAYOUT = ChunkLayout("pose-motion", 1, "motion energies", "run again: only this chunk is decoded")


def has_region(names: Sequence[str], camera: str) -> bool:
    """Return whether a network tracks the points that define the region of a camera."""
    if camera == "body":
        return TAIL in names
    return NOSE in names and any(name in names for name in EYE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFound(Result):
    """Region of motion energy."""

    region: tuple[int, int, int, int] | None
    """Top, bottom, left, right, px; None where the network does not track the points that define it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindMotionRegion(Step):
    """Find the region of motion energy from the keypoints of the whole video."""

    kind: ClassVar[str] = "region"

    workspace: Workspace
    """The session."""
    attribute: str
    """Attribute of the pose table."""
    keypoints: StepKey
    """Publishes the keypoints."""

    def identity(self) -> Mapping[str, object]:
        return {"parents": [self.keypoints.fingerprint]}

    def run(self, upstream: Upstream) -> RegionFound:
        table = published_table(self.workspace, self.camera, self.attribute)
        keypoints = Keypoints.from_columns(read_table(table), str(table))
        if not has_region(keypoints.names, self.camera):
            note = f"no motion energy: the networks do not track {NOSE} and the eye, or {TAIL} on the body camera"
            return RegionFound(region=None, notes=(note,))
        found = motion_region(keypoints, self.camera)
        return RegionFound(region=(found.top, found.bottom, found.left, found.right))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureMotion(Step):
    """Decode a chunk and measure the motion energy of the region."""

    kind: ClassVar[str] = "motion"
    chunk_work: ClassVar[WorkKind | None] = "decode"

    workspace: Workspace
    """The session."""
    attribute: str
    """Attribute of the pose table."""
    video: Path
    """The video."""
    frames: Chunk
    """Frames of the chunk."""
    index: StepKey
    """Indexes the video."""
    region: StepKey
    """Finds the region."""

    def identity(self) -> Mapping[str, object]:
        return {"chunk": [self.frames.start, self.frames.stop], "parents": [self.region.fingerprint]}

    def run(self, upstream: Upstream) -> Result:
        from ibl_dask.video.framepass import run_pass

        found = upstream.result(self.region, RegionFound).region
        if found is None:
            return Result()
        reducer = RoiMotionEnergy(Region(*found))
        frame_index = load_index(self.workspace.index_file(self.camera))
        path = motion_file(self.workspace, self.camera, self.attribute, self.frames)
        wanted = {reducer.name: reducer.fingerprint()}
        work = Work("decode", len(self.frames), len(self.frames) * frame_index.width * frame_index.height)
        if not find_chunk(path, LAYOUT, frame_index.identity(), self.frames).missing(wanted):
            return Result(is_kept=True, work=work)
        with staying_the_same(self.video, frame_index):
            result = run_pass(self.video, frame_index, self.frames, [reducer])
        content = ChunkResult(result.fingerprints, result.arrays)
        commit_chunk(path, LAYOUT, frame_index.identity(), self.frames, content)
        return Result(work=work)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishMotion(Step):
    """Join the motion energies of the chunks, and publish them with their region."""

    kind: ClassVar[str] = "energy"

    workspace: Workspace
    """The session."""
    attribute: str
    """Attribute of the pose table."""
    chunks: tuple[Chunk, ...]
    """Chunks of the video, in order."""
    keypoints: StepKey
    """Publishes the keypoints."""
    index: StepKey | None = None
    """Indexes the video; None where the published files are of these keypoints."""
    region: StepKey | None = None
    """Finds the region."""
    passes: tuple[StepKey, ...] = ()
    """Measure the chunks."""

    def identity(self) -> Mapping[str, object]:
        return {"parents": [self.keypoints.fingerprint]}

    def run(self, upstream: Upstream) -> Result:
        from ibl_dask.video.framepass import join_passes

        if self.region is None:
            raise TypeError("a published motion energy was planned to be kept, and its marker is gone")
        found = upstream.result(self.region, RegionFound)
        if found.region is None:
            return Result(notes=found.notes)
        reducer = RoiMotionEnergy(Region(*found.region))
        workspace, camera = self.workspace, self.camera
        frame_index = load_index(workspace.index_file(camera))
        require_tiling(self.chunks, len(frame_index), motion_energy_file(workspace, camera))
        parts = ((chunk, self._read(chunk, frame_index.identity(), reducer)) for chunk in self.chunks)
        values = np.asarray(join_passes([reducer], parts)[f"{reducer.name}/{reducer.name}"], np.float64)
        energy = alf.publish_npy(motion_energy_file(workspace, camera), values, workspace.overwrite)
        place = region_position(Region(*found.region))
        position = alf.publish_npy(motion_position_file(workspace, camera), place, workspace.overwrite)
        spent = motion_file(workspace, camera, self.attribute, self.chunks[0]).parent.parent
        facts = {"region": list(found.region), "frames": len(values)}
        return Result(outputs=(energy, position), spent=(spent,), facts=facts)

    def _read(self, chunk: Chunk, video: Mapping[str, object], reducer: RoiMotionEnergy) -> Mapping[str, Array]:
        path = motion_file(self.workspace, self.camera, self.attribute, chunk)
        return require_chunk(path, LAYOUT, video, chunk, {reducer.name: reducer.fingerprint()}).arrays


def motion_file(workspace: Workspace, camera: str, attribute: str, chunk: Chunk) -> Path:
    """Return the path of the motion energies of a chunk."""
    return workspace.pose_file(camera, f"{attribute}-motion", chunk)


def motion_energy_file(workspace: Workspace, camera: str) -> Path:
    """Return the path of the ALF file of motion energies, without a revision."""
    return workspace.session.outputs / "alf" / f"{camera}Camera.ROIMotionEnergy.npy"


def motion_position_file(workspace: Workspace, camera: str) -> Path:
    """Return the path of the ALF file of their region, without a revision."""
    return workspace.session.outputs / "alf" / f"{camera}ROIMotionEnergy.position.npy"
