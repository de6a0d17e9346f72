"""Forecast of estimating the pose of a camera."""

from __future__ import annotations

import json
from dataclasses import replace

from ibl_dask.errors import InputError
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.description import Camera
from ibl_dask.model.forecast import CameraForecast, PixelCost, Rates, Why
from ibl_dask.store.results import find_chunk
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.camera_forecast import (
    Identity,
    cached_identity,
    format_kept,
    is_of,
    outline_or_problem,
    share_of_bytes,
    without_video,
)
from ibl_dask.tasks.pose.camera_plan import choose_pose_chunks, fresh_networks
from ibl_dask.tasks.pose.chunk_steps import LAYOUT
from ibl_dask.tasks.pose.members import CameraNetworks
from ibl_dask.tasks.pose.record import read_record
from ibl_dask.tasks.session_files import find_video

INFERRING = PixelCost("infer", 6e-9)
"""Decoding and all networks on a GPU worker: 8 ms for a frame of 1280x1024. No measurement: that of IBL's networks on
one GPU is not known; from the first run on its own journal counts."""
_TABLE_BYTES_PER_FRAME = 24
"""Size of a keypoint in the table, bytes: three values of 8 bytes, which hardly shrink."""
_SCRATCH_BYTES_PER_FRAME = 12
_KEYPOINTS = 11
"""Keypoints of IBL's side cameras, for networks that were not opened yet."""


def forecast_pose(
    workspace: Workspace,
    camera: Camera,
    rates: Rates,
    networks: CameraNetworks,
    chunk_pixels: int | None,
) -> CameraForecast:
    """Forecast the estimation of a camera; the seconds are those of a worker with a GPU.

    Parameters
    ----------
    workspace : Workspace
        Folders of the session.
    camera : Camera
        The camera.
    rates : Rates
        Durations measured in earlier runs.
    networks : CameraNetworks
        Networks of the camera.
    chunk_pixels : int or None
        Size of all chunks, pixels; None for the usual sizes.
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
    chunks = choose_pose_chunks(outline, chunk_pixels)
    note = workspace.content_note(label, video)
    identity = _recorded_video(workspace, networks)
    is_recorded = bool(identity)
    is_same = is_recorded and is_of(identity, video, note)
    if not is_same:
        identity = cached_identity(workspace, label, video)
    networks = replace(networks, video=identity)
    record = read_record(workspace, label, networks.attribute, identity, is_checked=False) if is_same else None
    fresh = fresh_networks(networks, None if workspace.overwrite else record)
    named = CameraForecast(label, "missing output", "", video.name, outline.n_frames, len(chunks))
    if not fresh:
        return replace(named, why="nothing to do", detail="estimated already")
    begun = [] if workspace.overwrite else workspace.with_pose(label, networks.attribute, chunks)
    done = {chunk for chunk in begun if _is_done(workspace, networks, fresh, chunk)}
    left = [chunk for chunk in chunks if chunk not in done]
    n_frames_left = sum(len(chunk) for chunk in left)
    why: Why = "missing output" if not is_recorded else "changed parameters" if is_same else "changed input"
    known = {} if record is None else record.networks
    is_asked = networks.mark != "" and any(known.get(name, {}).get("rerun", "") != networks.mark for name in known)
    names = "keypoints" if len(fresh) == len(networks.networks) else f"keypoints of {', '.join(fresh)}"
    return replace(
        named,
        why="forced" if workspace.overwrite and record is not None else why,
        detail=f"{names} to estimate{', as a verdict asks' * is_asked}" + format_kept(len(chunks), len(left)),
        n_chunks_left=len(left),
        core_s=rates.core_s(INFERRING, n_frames_left * outline.width * outline.height),
        read_bytes=share_of_bytes(video, len(left), len(chunks)),
        written_bytes=_TABLE_BYTES_PER_FRAME * _KEYPOINTS * outline.n_frames,
        scratch_bytes=_SCRATCH_BYTES_PER_FRAME * _KEYPOINTS * outline.n_frames,
    )


def _recorded_video(workspace: Workspace, networks: CameraNetworks) -> Identity:
    """Return the identity of the video that the published table is of; empty without a record."""
    try:
        content = json.loads(workspace.pose_record(networks.label, networks.attribute).read_text())
        return dict(content["video"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _is_done(workspace: Workspace, networks: CameraNetworks, fresh: tuple[str, ...], chunk: Chunk) -> bool:
    """Return whether a chunk holds values of all fresh networks; whether by the same build the run finds out."""
    path = workspace.pose_file(networks.label, networks.attribute, chunk)
    found = find_chunk(path, LAYOUT, networks.video, chunk)
    parts = {member.part for member in networks.members if member.network.name in fresh}
    return bool(found.arrays) and parts <= found.fingerprints.keys()
