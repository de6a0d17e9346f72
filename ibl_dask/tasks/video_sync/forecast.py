"""Forecast of timing, measuring and checking a camera."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ibl_dask.errors import InputError
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.model.forecast import CameraForecast, PixelCost, Rates, Why
from ibl_dask.store.compression_record import recorded_chunks
from ibl_dask.store.frames import read_stored
from ibl_dask.store.marker import marked_fingerprint
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.camera_forecast import (
    Identity,
    cached_identity,
    format_kept,
    is_of,
    measured_bytes,
    outline_or_problem,
    share_of_bytes,
    without_video,
)
from ibl_dask.tasks.session_files import find_video
from ibl_dask.tasks.video_sync.frame_pass import measured_chunks
from ibl_dask.video.chunking import split_video
from ibl_dask.video.container.summary import ContainerSummary
from ibl_dask.video.reducers.protocol import Reducer

DECODING = PixelCost("decode", 4.3e-9)
"""Decoding H.264 and all reducers: 5.7 ms for a frame of 1280x1024; 640x512 takes about half of that per pixel
(benchmarks/results/frame_pass.md)."""
_STORED_BYTES_PER_FRAME = 60
_STORED_BYTES = 450_000
"""Size of times and per-frame numbers, compressed, and of thumbnails (benchmarks/results/run_bytes.md)."""
_INDEX_BYTES_PER_FRAME = 10
"""Index of a video in the scratch folder (benchmarks/results/run_bytes.md)."""
_STEPS = {
    "times": "times to make, since files of the camera or the clock changed",
    "wheel": "times to compare with the wheel, since that changed or what was made of it is gone",
    "frames": "times and numbers to put together again",
}
"""Step of a measured camera -> phrase for an execution that its marker does not cover."""

Reducers = Sequence[Reducer]


@dataclass(frozen=True, slots=True)
class SyncDecisions:
    """Decisions that a forecast shares with the steps of the task."""

    reducers: Callable[[str, int, int, int], Reducers]
    """`(label, n_frames, width, height) -> reducers` of the frame pass."""
    marker_fingerprints: Callable[[Camera, Identity, Reducers], Mapping[str, str]]
    """`(camera, identity of its video, reducers) -> {marker: fingerprint}` of the steps that leave a marker."""
    chunk_pixels: int | None
    """Pixels per chunk; None for the table in `ibl_dask.video.chunking`."""


def choose_chunks(
    workspace: Workspace, label: str, outline: ContainerSummary, identity: Identity, chunk_pixels: int | None
) -> tuple[Chunk, ...]:
    """Return the chunks that a video is decoded in.

    Parameters
    ----------
    workspace : Workspace
        Folders of the session.
    label : str
        Camera.
    outline : ContainerSummary
        Frames, size and keyframes of the video.
    identity : mapping
        Identity of the video; empty if unknown.
    chunk_pixels : int or None
        Pixels per chunk. By default a video that was compressed here keeps the chunks of its compression, which are
        measured already, and any other is split by the table in `ibl_dask.video.chunking`.
    """
    if chunk_pixels is None:
        known = recorded_chunks(workspace, label, identity)
        if known:
            return known
    return split_video(outline.keyframes, outline.n_frames, outline.width, outline.height, chunk_pixels)


def forecast_camera(
    workspace: Workspace, camera: Camera, rates: Rates, decisions: SyncDecisions, *, is_measured_before: bool
) -> CameraForecast:
    """Forecast timing, measuring and checking of a camera.

    Parameters
    ----------
    workspace : Workspace
        Folders of the session.
    camera : Camera
        The camera.
    rates : Rates
        Durations measured in earlier runs.
    decisions : SyncDecisions
        Reducers, chunks and fingerprints, as the task decides on them.
    is_measured_before : bool
        An earlier task of the run decodes and measures every frame.
    """
    label = camera.label
    try:
        video = find_video(workspace, camera)
    except InputError as error:
        return CameraForecast(label, "no input", str(error))
    if video is None:
        return without_video(camera)
    outline = outline_or_problem(video)
    if isinstance(outline, str):
        return CameraForecast(label, "no input", outline, video.name)
    n_bytes = _STORED_BYTES + _STORED_BYTES_PER_FRAME * outline.n_frames
    named = CameraForecast(label, "missing output", "", video.name, outline.n_frames, written_bytes=n_bytes)
    if is_measured_before:
        return replace(named, detail="to time; measured while it is compressed")
    return _forecast_measuring(workspace, camera, rates, decisions, video, outline, named)


def _forecast_measuring(
    workspace: Workspace,
    camera: Camera,
    rates: Rates,
    decisions: SyncDecisions,
    video: Path,
    outline: ContainerSummary,
    named: CameraForecast,
) -> CameraForecast:
    """Compare the per-frame store and the chunks on disk with the reducers; see `forecast_camera`."""
    label = camera.label
    stored = read_stored(workspace.frames_store(label))
    is_same = stored is not None and is_of(stored[1], video, workspace.content_note(label, video))
    identity = stored[1] if stored is not None and is_same else {}
    reducers = decisions.reducers(label, outline.n_frames, outline.width, outline.height)
    is_forced = workspace.overwrite
    known = stored[0] if stored is not None and is_same and not is_forced else {}
    fresh = [r for r in reducers if known.get(r.name) != r.fingerprint()]
    chunks = choose_chunks(workspace, label, outline, identity, decisions.chunk_pixels)
    named = replace(named, n_chunks=len(chunks))
    if not fresh:
        fingerprints = partial(decisions.marker_fingerprints, camera, identity, reducers)
        return _forecast_times(workspace, camera, named, fingerprints)
    cached = {} if is_forced else cached_identity(workspace, label, video)
    measured = measured_chunks(workspace, label, chunks, cached, fresh)
    left = [chunk for chunk in chunks if chunk not in measured]
    names = "everything" if len(fresh) == len(reducers) else ", ".join(r.name for r in fresh)
    why: Why = "missing output" if stored is None else "changed parameters" if is_same else "changed input"
    if is_forced and stored is not None:
        why = "forced"
    n_frames_left = sum(len(chunk) for chunk in left)
    return replace(
        named,
        why=why,
        detail=f"{names} to compute" + format_kept(len(chunks), len(left)),
        n_chunks_left=len(left),
        core_s=rates.core_s(DECODING, n_frames_left * outline.width * outline.height),
        scratch_bytes=measured_bytes(n_frames_left) + _INDEX_BYTES_PER_FRAME * outline.n_frames,
        read_bytes=share_of_bytes(video, len(left), len(chunks)),
    )


def _forecast_times(
    workspace: Workspace, camera: Camera, named: CameraForecast, fingerprints: Callable[[], Mapping[str, str]]
) -> CameraForecast:
    """Forecast a camera that is measured: its times, and the merge of both."""
    if workspace.published_times(camera.label) is None:
        return replace(named, detail="times to make; measured already")
    for name, fingerprint in fingerprints().items():
        if marked_fingerprint(workspace.marker(name), workspace.session.outputs) != fingerprint:
            return replace(named, why="changed input", detail=f"{_STEPS[name.split('-')[0]]}; measured already")
    if not workspace.qc_file.exists():
        return replace(named, detail="checks to make; measured already")
    return replace(named, why="nothing to do", detail="measured already", written_bytes=0)
