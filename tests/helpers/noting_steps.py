"""Steps that note where they ran, and a step that looks at frames; workers import them by name."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from ibl_dask.tasks.index_video import load_index
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.store.workspace import Workspace

LONGEST_WAIT_S = 120.0


def here() -> dict[str, Any]:
    """Return where this process runs, as Slurm told it."""
    names = {"node": "SLURMD_NODENAME", "partition": "SLURM_JOB_PARTITION", "job": "SLURM_JOB_ID"}
    found = {key: os.environ.get(name, "") for key, name in names.items()}
    return {**found, "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""), "pid": os.getpid()}


def noted(
    *,
    records: Any,
    log: Path,
    gate: Path,
    step: str,
    chunk: int,
    function: Callable[..., Any],
    arguments: dict[str, Any],
) -> Mapping[str, Any]:
    """Do what a step does, and write a line when it starts and one when it ends.

    While the gate is there, a step stands between the two: it has started, and can be killed.
    """
    place = {"step": step, "chunk": chunk, **here()}
    _write(log, {"what": "start", "at": time.time(), **place})
    deadline = time.monotonic() + LONGEST_WAIT_S
    while gate.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    value: Mapping[str, Any] = function(records=records, **arguments)
    _write(log, {"what": "end", "at": time.time(), **place})
    return value


def _write(log: Path, line: dict[str, Any]) -> None:
    # One call, so that lines of several processes do not mix.
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, (json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)


def find_numbers(*, records: Any, workspace: Workspace, camera: str, video: Path, chunk: Chunk) -> dict[str, Any]:
    """Decode the frames of a chunk, and read from their pixels which frames they are."""
    from ibl_dask.synth.burn import read_frame_number

    with FrameReader(video, load_index(workspace.index_file(camera))) as reader:
        numbers = [read_frame_number(luma(frame)) for _, frame in reader.frames(chunk.start, chunk.stop)]
    return {
        "first": numbers[0],
        "last": numbers[-1],
        "frames": len(numbers),
        "in_order": numbers == list(range(chunk.start, chunk.stop)),
    }
