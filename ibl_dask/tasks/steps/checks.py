"""Judge the cameras of a session."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ibl_dask.errors import InputError
from ibl_dask.model.description import Camera
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.runs import find_runs
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.record import camera_record, failed_camera_record, session_record
from ibl_dask.qc.registry import run_checks
from ibl_dask.store.atomic import write_text
from ibl_dask.store.frames import FramesStore, read_frames
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.steps.index import load_index
from ibl_dask.tasks.steps.inputs import Facts, Records, camera_file_paths
from ibl_dask.tasks.steps.times import load_times


def check_camera(*, records: Records, workspace: Workspace, camera: Camera) -> Facts:
    """Judge one camera and keep the outcome for the session's record."""
    indexed = next(r for r in records.values() if r.key[0].startswith("index-"))
    if indexed.is_ok:
        results = run_checks(_evidence(records, workspace, camera))
        record = camera_record(results)
    else:
        record = failed_camera_record(indexed.failure.message if indexed.failure else "its video cannot be indexed")
    write_text(workspace.qc_part(camera.label), json.dumps(record))
    outcomes = {name: content["outcome"] for name, content in record["checks"].items()}
    return {"outcome": record["outcome"], "checks": outcomes}


def _evidence(records: Records, workspace: Workspace, camera: Camera) -> CameraEvidence:
    from ibl_dask.timing.camera_files import read_camera_files

    frame_index = load_index(workspace.index_file(camera.label))
    timed = next(r for r in records.values() if r.key[0].startswith("times-"))
    found = camera_file_paths(workspace, camera)
    try:
        files = read_camera_files(**found) if any(found.values()) else None
    except InputError:
        files = None
    stored = next((r for r in records.values() if r.key[0].startswith("frames-")), None)
    store = read_frames(workspace.frames_store(camera.label)) if stored is not None and stored.is_ok else None
    samples = _samples(store, len(frame_index))
    return CameraEvidence(
        camera=camera,
        n_frames=len(frame_index),
        width=frame_index.width,
        height=frame_index.height,
        header_fps=frame_index.fps,
        times_s=load_times(workspace, camera.label) if timed.is_ok else None,
        no_times=timed.failure.message if timed.failure else "",
        n_not_measured=int(timed.value.get("n_not_measured", 0)),
        timing_outcome=Outcome[timed.value.get("hint", "NOT_SET")],
        timing_notes=tuple(timed.value.get("notes", ())),
        n_camera_times=None if files is None else files.n_frames,
        count=None if files is None else files.count,
        pin_state=None if files is None or files.pins is None else files.pins[:, -1],
        n_ttl_rises=timed.value.get("n_ttl_rises"),
        n_decode_errors=None if store is None else int(store.columns["decode_error"].values.sum()),
        undecoded_runs=() if store is None else find_runs(store.columns["decode_error"].values),
        **samples,
    )


def _samples(store: FramesStore | None, n_frames: int) -> dict[str, NDArray[np.float64]]:
    """Return the values at the sampled frames, as often as the reference samples each."""
    from ibl_dask.video.reducers import focus_samples, sample_frames

    if store is None or "sample_brightness" not in store.columns:
        return {}
    wanted = sample_frames(n_frames)
    place = np.searchsorted(store.coordinates["sample_frame"].values, wanted)
    focus = place[focus_samples(len(wanted))]
    return {
        "sample_brightness": store.columns["sample_brightness"].values[place],
        "sample_laplacian": store.columns["sample_laplacian"].values[focus],
        "sample_high_frequency": store.columns["sample_high_frequency"].values[focus],
    }


def publish_qc(*, records: Records, workspace: Workspace, cameras: Sequence[str]) -> Facts:
    """Write the checks of all cameras as one record."""
    parts = {}
    for label in cameras:
        record = next(r for r in records.values() if r.key[0] == f"qc-{label}")
        if record.is_ok:
            parts[label] = json.loads(workspace.qc_part(label).read_text())
        else:
            parts[label] = failed_camera_record(record.failure.message if record.failure else "not checked")
    content = session_record(workspace.session.reference, parts)
    write_text(workspace.qc_file, json.dumps(content, indent=1))
    return {"outcome": content["outcome"], "cameras": {label: part["outcome"] for label, part in parts.items()}}
