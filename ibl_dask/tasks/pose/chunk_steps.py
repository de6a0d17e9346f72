"""Step that estimates the keypoints of a chunk, for the networks whose values are not on disk yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.cores import worker_cores
from ibl_dask.model.result import Result, Work, WorkKind
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.windows import picture_map
from ibl_dask.store.frames import read_column
from ibl_dask.store.results import ChunkLayout, ChunkResult, commit_chunk, find_chunk
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.pose.engine_steps import EnginesOpened, opened, require_declared
from ibl_dask.tasks.pose.estimation import estimate
from ibl_dask.tasks.pose.members import CameraNetworks, Member
from ibl_dask.tasks.pose.window_steps import PlacesFound, find_region
from ibl_dask.tasks.video_sync.frame_pass import staying_the_same
from ibl_dask.video.container.index import FrameIndex

LAYOUT = ChunkLayout("pose", 1, "the keypoints", "run again: only this chunk is estimated")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkEstimated(Result):
    """A chunk whose keypoints are on disk."""

    frames: int
    """Frames of the chunk."""
    estimated: int
    """Frames whose keypoints were estimated in this run; 0 where the result was kept."""
    errors: int
    """Frames that do not decode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateChunk(Step):
    """Decode a chunk once for every network whose values are not on disk yet."""

    kind: ClassVar[str] = "pose"
    chunk_work: ClassVar[WorkKind | None] = "infer"

    workspace: Workspace
    """The session."""
    video: Path
    """The video."""
    frames: Chunk
    """Frames of the chunk."""
    networks: CameraNetworks
    """Networks of the camera."""
    fresh: tuple[str, ...]
    """Names of the networks whose values are to be on disk afterwards."""
    index: StepKey
    """Indexes the video."""
    engines: StepKey
    """Opens the engines."""
    places: tuple[StepKey, ...] = ()
    """Find the places of windows, in the order of `CameraNetworks.locators`."""

    def identity(self) -> Mapping[str, object]:
        members = [member.fingerprint for member in self._members()]
        chunk = [self.frames.start, self.frames.stop]
        return {"video": dict(self.networks.video), "chunk": chunk, "members": members}

    def run(self, upstream: Upstream) -> ChunkEstimated:
        frame_index = load_index(self.workspace.index_file(self.camera))
        known = upstream.result(self.engines, EnginesOpened)
        members = {member.part: member for member in self._members()}
        wanted = {part: built(member, known) for part, member in members.items()}
        path = self.workspace.pose_file(self.camera, self.networks.attribute, self.frames)
        before = find_chunk(path, LAYOUT, frame_index.identity(), self.frames)
        missing = before.missing(wanted)
        n_frames = len(self.frames)
        work = Work("infer", n_frames, n_frames * frame_index.width * frame_index.height)
        if not missing:
            errors = int(before.arrays["decode_error"].sum())
            return ChunkEstimated(is_kept=True, frames=n_frames, estimated=0, errors=errors, work=work)
        maps = picture_maps(self.networks, self.places, upstream, frame_index, self.video)
        settings = {members[part].settings.name: members[part].settings for part in missing}
        declared = self.networks.declared
        device = declared.device
        with staying_the_same(self.video, frame_index), opened(list(settings.values()), device) as engines:
            require_declared(engines, known)
            asked = {part: (engines[members[part].settings.name], maps[part]) for part in missing}
            # On the CPU the engines have the other cores.
            n_decoders = 1 if device == "cpu" else worker_cores()
            refused = self._gpu_refusal(frame_index)
            found = estimate(self.video, frame_index, self.frames, asked, n_decoders=n_decoders, on_gpu=not refused)
        kept = before.only(wanted.keys() - set(missing))
        content = ChunkResult(
            {**kept.fingerprints, **{part: wanted[part] for part in missing}},
            {
                **kept.arrays,
                **{f"{part}/values": values for part, values in found.values.items()},
                "decode_error": found.decode_error,
            },
        )
        commit_chunk(path, LAYOUT, frame_index.identity(), self.frames, content)
        return ChunkEstimated(
            frames=n_frames,
            estimated=n_frames,
            errors=int(found.decode_error.sum()),
            work=work,
            facts={
                "networks": missing,
                "decoders": found.n_decoders,
                "decoded_on": "GPU" if found.on_gpu else "CPU",
                **({} if found.on_gpu or declared.decode == "cpu" else {"not_on_gpu": refused or found.gpu_problem}),
                "decode_s": round(found.decode_s, 3),
                "infer_s": round(found.infer_s, 3),
                "waited_s": round(found.waited_s, 3),
            },
        )

    def _gpu_refusal(self, frame_index: FrameIndex) -> str:
        """Return why the GPU is not to decode the chunk; empty if it may."""
        from ibl_dask.video.gpu_proof import refusal

        if self.networks.declared.decode == "cpu":
            return "the profile does not ask for it"
        path = self.workspace.frames_store(self.camera)
        errors = read_column(path, "decode_error", frame_index.identity())
        if errors is None:
            return "no CPU has decoded every frame of this video yet, as the QC of its camera does"
        if errors.any():
            return f"{int(errors.sum()):,} frames of this video do not decode"
        return refusal(self.video, frame_index, self.frames)

    def _members(self) -> tuple[Member, ...]:
        return tuple(member for member in self.networks.members if member.network.name in self.fresh)


def built(member: Member, known: EnginesOpened) -> str:
    """Return the fingerprint of the values of an engine, its build included."""
    return member.built(known.info(member.settings.name).build)


def picture_maps(
    networks: CameraNetworks,
    places: tuple[StepKey, ...],
    upstream: Upstream,
    frame_index: FrameIndex,
    video: Path,
) -> dict[str, PictureMap]:
    """Return the map from frames to pictures of each engine, by the name of its values.

    Parameters
    ----------
    networks : CameraNetworks
        Networks of the camera.
    places : tuple of StepKey
        Find the places of windows, in the order of `CameraNetworks.locators`.
    upstream : Upstream
        Their records.
    frame_index : FrameIndex
        Index of the video.
    video : Path
        The video, for messages.
    """
    found = {
        settings.name: upstream.result(key, PlacesFound)
        for settings, key in zip(networks.locators, places, strict=True)
    }
    maps: dict[str, PictureMap] = {}
    for member in networks.members:
        network = member.network
        located = None if network.crop is None else found[networks.locator_of(network)]
        region = find_region(network, located, networks.view, frame_index, video)
        maps[member.part] = picture_map(network, region, networks.view)
    return maps
