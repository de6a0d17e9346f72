"""Step that joins the keypoints of all chunks of a camera into its table: one row per frame of the index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import CorruptOutput
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.result import Result, VideoIndexed
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.pose.ensembles import merge_ensemble
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.networks import Network
from ibl_dask.pose.smoothers.ensemble_kalman import in_frame, smooth_ensemble
from ibl_dask.pose.smoothing import smoothed
from ibl_dask.store import alf
from ibl_dask.store.results import require_chunk
from ibl_dask.store.tables import read_table, table_bytes
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.tasks.lost_frames import lost_frames
from ibl_dask.tasks.pose.chunk_steps import LAYOUT, ChunkEstimated, built, picture_maps
from ibl_dask.tasks.pose.engine_steps import EnginesOpened
from ibl_dask.tasks.pose.members import CameraNetworks
from ibl_dask.tasks.pose.record import PoseRecord, hash_of, read_record, write_record
from ibl_dask.video.container.index import FrameIndex

Columns = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PosesJoined(Result):
    """A table of keypoints with a row for every frame of the video."""

    frames: int
    """Rows."""
    errors: int
    """Frames that do not decode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPoses(Step):
    """Join the chunks of a camera, smooth each network over the whole video, and publish the table."""

    kind: ClassVar[str] = "keypoints"
    result_form: ClassVar[type[Result]] = PosesJoined

    workspace: Workspace
    """The session."""
    networks: CameraNetworks
    """Networks of the camera."""
    chunks: tuple[Chunk, ...]
    """Chunks of the video, in order."""
    fresh: tuple[str, ...]
    """Networks whose values the chunks hold; the published table has those of the others."""
    index: StepKey
    """Indexes the video."""
    engines: StepKey | None = None
    """Opens the engines; None where nothing is fresh."""
    places: tuple[StepKey, ...] = ()
    """Find the places of windows."""
    passes: tuple[StepKey, ...] = ()
    """Estimate the chunks."""

    def identity(self) -> Mapping[str, object]:
        networks = [[n.name, self.networks.network_fingerprint(n)] for n in self.networks.networks]
        return {"video": dict(self.networks.video), "networks": networks, "attribute": self.networks.attribute}

    def run(self, upstream: Upstream) -> PosesJoined:
        workspace, camera, attribute = self.workspace, self.camera, self.networks.attribute
        frame_index = load_index(workspace.index_file(camera))
        video = upstream.result(self.index, VideoIndexed).video
        before = read_record(workspace, camera, attribute, frame_index.identity())
        stored = {} if before is None else read_table(workspace.session.outputs / before.table)
        described: dict[str, JsonObject] = {} if before is None else dict(before.networks)
        columns: Columns = {}
        joined: _Chunks | None = None
        if self.engines is not None:
            require_tiling(self.chunks, len(frame_index), video)
            joined = _Chunks(self, upstream, self.engines, frame_index, video)
            errors = joined.errors()
        else:
            errors = _errors_of(stored)
        for network in self.networks.networks:
            if joined is not None and network.name in self.fresh:
                own, described[network.name] = joined.columns(network)
            else:
                own = self._carried(network, described, stored)
            columns.update(own)
        content = table_bytes(columns)
        table = alf.publish(workspace.pose_table(camera, attribute), content, workspace.overwrite)
        names = [network.name for network in self.networks.networks]
        record = PoseRecord(
            video=frame_index.identity(),
            table=table.relative_to(workspace.session.outputs).as_posix(),
            sha256=hash_of(table),
            networks={name: described[name] for name in names},
            frames=len(frame_index),
            decode_errors=int(errors.sum()),
        )
        written = write_record(workspace, camera, attribute, record)
        lost = lost_frames(
            errors,
            camera,
            video,
            lack="have no keypoints",
            consequence="the rows of these frames hold NaN with likelihood 0",
        )
        return PosesJoined(
            frames=len(frame_index),
            errors=int(errors.sum()),
            outputs=(table, written),
            spent=tuple(workspace.pose_file(camera, attribute, chunk).parent.parent for chunk in self.chunks[:1]),
            disposition="incomplete" if lost else "complete",
            reason=lost or "",
            notes=() if lost is None else (f"keypoints: {lost.message}",),
            facts={"keypoints": len(columns) // 3, **self._pass_facts(upstream)},
        )

    def _carried(self, network: Network, described: Mapping[str, JsonObject], stored: Columns) -> Columns:
        """Return the columns of a network from the published table."""
        names = [str(name) for name in described.get(network.name, {}).get("columns", ())]
        if not names or any(name not in stored for name in names):
            raise CorruptOutput(
                f"the table of keypoints lost its {network.name} columns while the run went on",
                where=str(self.workspace.pose_table(self.camera, self.networks.attribute)),
                expected=", ".join(names) or "a table with a record",
                got=", ".join(stored) or "no table",
                do="run again: they are estimated anew",
            )
        return {name: stored[name] for name in names}

    def _pass_facts(self, upstream: Upstream) -> dict[str, object]:
        passes = [upstream[key] for key in self.passes]
        return {
            "chunks": len(passes),
            "chunks_kept": sum(record.status == "kept" for record in passes),
            "estimated": sum(upstream.result(key, ChunkEstimated).estimated for key in self.passes),
            "workers": sorted({record.worker for record in passes if record.status == "done"}),
            "networks": list(self.fresh),
        }


class _Chunks:
    """Values of the chunks of a video, joined network by network."""

    def __init__(
        self, step: JoinPoses, upstream: Upstream, engines: StepKey, frame_index: FrameIndex, video: Path
    ) -> None:
        self._step, self._index = step, frame_index
        self._known = upstream.result(engines, EnginesOpened)
        self._maps = picture_maps(step.networks, step.places, upstream, frame_index, video)

    def errors(self) -> NDArray[np.bool_]:
        """Return which frames do not decode. (frame,)"""
        return np.concatenate([self._read(chunk, {})["decode_error"] for chunk in self._step.chunks])

    def columns(self, network: Network) -> tuple[Columns, JsonObject]:
        """Return the columns of a network, and the record of how they were made."""
        networks = self._step.networks
        members = networks.members_of(network)
        names = self._known.info(members[0].settings.name).keypoints
        tables = []
        for member in members:
            wanted = {member.part: built(member, self._known)}
            parts = [self._read(chunk, wanted)[f"{member.part}/values"] for chunk in self._step.chunks]
            tables.append(Keypoints(names, np.concatenate(parts).astype(np.float64)))
        keypoints, about_smoothing = self._merged(network, tables)
        columns = {name: np.asarray(column, np.float64) for name, column in keypoints.columns().items()}
        engines = [member.settings.identity(self._known.info(member.settings.name).build) for member in members]
        about: JsonObject = {
            "fingerprint": networks.network_fingerprint(network),
            "columns": list(columns),
            "keypoints": list(names),
            "engines": engines,
            "device": networks.declared.device,
            "picture": _describe(self._maps[members[0].part]),
            "median_frames": networks.declared.median_frames,
            **about_smoothing,
            **({"rerun": networks.mark} if networks.mark else {}),
        }
        return dict(columns), about

    def _merged(self, network: Network, tables: Sequence[Keypoints]) -> tuple[Keypoints, JsonObject]:
        """Return the keypoints of a network in px of the frame, from those of its members in px of their pictures."""
        networks = self._step.networks
        members = networks.members_of(network)
        smoothing = networks.declared.smoothing_of(network)
        if smoothing is not None:
            rate_hz = self._index.fps
            found = smooth_ensemble(tables, smoothing, rate_hz, networks.declared.smoother)
            about = {"smoothing": {**smoothing.parameters(rate_hz), "build": found.build}}
            return in_frame(found.keypoints, self._maps[members[0].part]), about
        placed = []
        for member, table in zip(members, tables, strict=True):
            values = table.values.copy()
            values[..., :2] = self._maps[member.part].to_frame(values[..., :2])
            placed.append(replace(table, values=values))
        return smoothed(merge_ensemble(placed), networks.declared.median_frames), {}

    def _read(self, chunk: Chunk, wanted: Mapping[str, str]) -> Mapping[str, NDArray[np.generic]]:
        step = self._step
        path = step.workspace.pose_file(step.camera, step.networks.attribute, chunk)
        found = require_chunk(path, LAYOUT, self._index.identity(), chunk, wanted)
        for name, values in found.arrays.items():
            if len(values) != len(chunk):
                raise CorruptOutput(
                    "a chunk of keypoints has another number of rows than frames",
                    where=str(path),
                    expected=f"{len(chunk):,} rows",
                    got=f"{len(values):,} in {name}",
                    do=LAYOUT.remedy,
                )
        return found.arrays


def _describe(pictures: PictureMap) -> JsonObject:
    """Return how pictures were cut out of the frames; JSON."""
    content = asdict(pictures)
    return {**content, "size": None if pictures.size is None else list(pictures.size)}


def _errors_of(stored: Columns) -> NDArray[np.bool_]:
    """Return the frames without keypoints in a published table. (frame,)"""
    points = [values for name, values in stored.items() if name.endswith("_x")]
    return np.all(np.isnan(np.stack(points)), axis=0) if points else np.zeros(0, np.bool_)


def require_tiling(chunks: Sequence[Chunk], n_frames: int, where: Path) -> None:
    """Raise unless chunks hold every frame of a video once.

    Raises
    ------
    CorruptOutput
        If there is a gap or an overlap.
    """
    borders = [0, *(chunk.stop for chunk in chunks)]
    if [chunk.start for chunk in chunks] != borders[:-1] or borders[-1] != n_frames:
        raise CorruptOutput(
            "the chunks of keypoints do not tile the video",
            where=str(where),
            expected=f"frames 0 to {n_frames - 1:,} once each",
            got=_format_chunks(chunks),
            do="report this: the chunk plan is wrong",
        )


def _format_chunks(chunks: Iterable[Chunk]) -> str:
    return ", ".join(f"[{chunk.start}, {chunk.stop})" for chunk in chunks)
