"""Steps that note where they ran, and a step that looks at frames; workers import them by name."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ibl_dask.model.chunk import Chunk
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, StepKey, Upstream
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.index_video import load_index
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import FrameReader

LONGEST_WAIT_S = 120.0


def here() -> dict[str, Any]:
    """Return where this process runs, as Slurm told it."""
    names = {"node": "SLURMD_NODENAME", "partition": "SLURM_JOB_PARTITION", "job": "SLURM_JOB_ID"}
    found = {key: os.environ.get(name, "") for key, name in names.items()}
    return {**found, "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""), "pid": os.getpid()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted(Step):
    """Does what another step does, and writes a line when it starts and one when it ends.

    While the gate is there, it stands between the two: it has started, and can be killed.
    """

    inner: Step
    log: Path
    gate: Path
    searches: tuple[StepKey, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", self.inner.fingerprint)

    @property
    def kind(self) -> str:  # type: ignore[override]
        return self.inner.kind

    @property
    def result_form(self) -> type[Result]:  # type: ignore[override]
        return self.inner.result_form

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def needs(self) -> tuple[StepKey, ...]:
        return (*self.inner.needs, *self.searches)

    @property
    def may_fail(self) -> frozenset[StepKey]:
        return self.inner.may_fail | set(self.searches)

    def identity(self) -> Mapping[str, object]:
        return self.inner.identity()

    def run(self, upstream: Upstream) -> Result:
        place = {"step": self.name, "chunk": self.chunk, **here()}
        _write(self.log, {"what": "start", "at": time.time(), **place})
        deadline = time.monotonic() + LONGEST_WAIT_S
        while self.gate.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        result = self.inner.run(upstream)
        _write(self.log, {"what": "end", "at": time.time(), **place})
        return result


def watch(step: Step, log: Path, gate: Path, searches: tuple[StepKey, ...] = ()) -> Noted:
    """Return a step that does what another does, and notes it."""
    shared = {name: getattr(step, name) for name in ("session", "camera", "chunk", "resources", "marker", "lease")}
    return Noted(**shared, inner=step, log=log, gate=gate, searches=searches)


def _write(log: Path, line: dict[str, Any]) -> None:
    # One call, so that lines of several processes do not mix.
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, (json.dumps(line) + "\n").encode())
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindNumbers(Step):
    """Decode the frames of a chunk, and read from their pixels which frames they are."""

    kind: ClassVar[str] = "numbers"

    workspace: Workspace
    video: Path
    frames: Chunk
    index: StepKey

    def identity(self) -> Mapping[str, object]:
        return {"index": self.index.fingerprint, "chunk": [self.frames.start, self.frames.stop]}

    def run(self, upstream: Upstream) -> Result:
        from ibl_dask.synth.burn import read_frame_number

        start, stop = self.frames.start, self.frames.stop
        with FrameReader(self.video, load_index(self.workspace.index_file(self.camera))) as reader:
            numbers = [read_frame_number(luma(frame)) for _, frame in reader.frames(start, stop)]
        facts = {"first": numbers[0], "last": numbers[-1], "frames": len(numbers)}
        return Result(facts={**facts, "in_order": numbers == list(range(start, stop))})
