"""Forecast of a run: for each task and camera, whether it would be worked on, the reason, and the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from ibl_dask.model.failure import Failure
from ibl_dask.model.review import WORK_REASONS, Review, ReviewReason
from ibl_dask.model.task import TIME_OUT_S, TaskSpec

Why = Literal[
    ReviewReason, "listed anew", "environment missing", "needs Alyx", "results elsewhere", "waits", "no input"
]
"""Reason for which a task would run or not."""

RUNNING: tuple[Why, ...] = (*WORK_REASONS, "listed anew")
"""Reasons for which a task runs."""
_WAITING: tuple[Why, ...] = ("environment missing", "needs Alyx", "results elsewhere", "waits")
_FAILING: tuple[Why, ...] = ("unusable", "no input")
_WORST: tuple[Why, ...] = ("no input", *RUNNING, "waits", "nothing to do")


@dataclass(frozen=True, slots=True)
class PixelCost:
    """Cost of a kind of work whose duration is proportional to the number of pixels."""

    kind: str
    """Kind of work: decode, encode, ..."""
    core_s: float
    """Measured cost, core-seconds per pixel, for machines without a journal of earlier runs."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Durations measured in earlier runs."""

    pixels: Mapping[str, float] = field(default_factory=dict)
    """Kind of work -> core-seconds per pixel."""
    tasks: Mapping[str, float] = field(default_factory=dict)
    """Name of a task of a single step -> mean duration, s per session."""
    source: str = "constants"
    """Origin of the rates of video: `constants`, or the number of runs."""

    def core_s(self, cost: PixelCost, n_pixels: int) -> float:
        """Return the expected time of some work on one core, s: by earlier runs, else by the constant.

        Parameters
        ----------
        cost : PixelCost
            Kind of work, and its constant.
        n_pixels : int
            Pixels of all frames together.
        """
        return n_pixels * self.pixels.get(cost.kind, cost.core_s)


@dataclass(frozen=True, slots=True)
class EarlierWork:
    """Work of the same run that precedes a task."""

    parents: tuple[str, ...] = ()
    """Names of parents that would run."""
    measured_cameras: frozenset[str] = frozenset()
    """Labels of cameras whose frames an earlier task decodes and measures on the way."""


@dataclass(frozen=True, slots=True)
class CameraForecast:
    """Forecast of one camera of a task."""

    label: str
    """left, right, ..."""
    why: Why
    """Reason, as one of a fixed set."""
    detail: str = ""
    """Reason, as a phrase."""
    video: str = "none"
    """Name of the video file."""
    n_frames: int = 0
    """Frames of the video."""
    n_chunks: int = 0
    """Chunks of the whole video."""
    n_chunks_left: int = 0
    """Chunks to decode."""
    core_s: float = 0.0
    """Expected time on one core, s."""
    read_bytes: int = 0
    """Video to read, bytes."""
    written_bytes: int = 0
    """Estimate of the output, bytes."""
    scratch_bytes: int = 0
    """Estimate of intermediate results, which are removed with the last step of the session, bytes."""


@dataclass(frozen=True, slots=True)
class TaskForecast:
    """Forecast of one task."""

    task: str
    """Name of the task."""
    why: Why
    """Reason, as one of a fixed set."""
    detail: str = ""
    """Reason, as a sentence."""
    cameras: tuple[CameraForecast, ...] = ()
    """Forecasts of its cameras; empty for tasks of a single step."""
    core_s: float | None = 0.0
    """Expected time on one core, s; None if unknown."""
    gpu_s: float | None = 0.0
    """Expected time on one GPU, s; None if unknown."""
    step_s: float | None = None
    """Expected duration of its single step, s; None if unknown, or if its steps are short."""
    step_source: str = ""
    """Origin of `step_s`: `recorded` in earlier runs, or `declared` by the task (`time_out_secs`)."""
    measured_cameras: frozenset[str] = frozenset()
    """Labels of cameras whose frames it decodes and measures for later tasks of the run."""
    failure: Failure | None = None
    """The error, or the unmet requirement, for which it would not start; None otherwise."""

    @classmethod
    def of_cameras(cls, task: str, cameras: Sequence[CameraForecast]) -> TaskForecast:
        """Add up the forecasts of a task's cameras; its reason is the weightiest of theirs.

        Parameters
        ----------
        task : str
            Name of the task.
        cameras : sequence of CameraForecast
            Forecasts of its cameras.
        """
        reasons: list[Why] = [camera.why for camera in cameras if camera.why in RUNNING]
        reasons = reasons or [camera.why for camera in cameras] or ["nothing to do"]
        detail = "; ".join(f"{camera.label}: {camera.detail or camera.why}" for camera in cameras)
        core_s = sum(camera.core_s for camera in cameras)
        return cls(task, min(reasons, key=_WORST.index), detail, tuple(cameras), core_s)

    @classmethod
    def of_review(
        cls, spec: TaskSpec, review: Review, rates: Rates, earlier: EarlierWork, time_out_s: float = TIME_OUT_S
    ) -> TaskForecast:
        """Forecast a task of a single step.

        Parameters
        ----------
        spec : TaskSpec
            The task: name and resources.
        review : Review
            Comparison with its completion record.
        rates : Rates
            Durations measured in earlier runs.
        earlier : EarlierWork
            Work that precedes it: its inputs may change until it starts.
        time_out_s : float
            Time after which the task is ended, s; an estimate of its duration where it is not the default.
        """
        if review.why not in RUNNING:
            may_change = bool(earlier.parents) and review.facts is not None
            unless = f", unless {', '.join(earlier.parents)} leaves something new" if may_change else ""
            return cls(spec.name, review.why, review.detail + unless)
        seconds = rates.tasks.get(spec.name)
        core_s = None if seconds is None else seconds * spec.resources.cpu
        gpu_s = seconds if spec.resources.gpu else 0.0
        step_s, source = seconds, "recorded"
        if seconds is None:
            # The default is that of every task: only another value is an estimate of this one.
            step_s, source = (None, "") if time_out_s == TIME_OUT_S else (float(time_out_s), "declared")
        return cls(spec.name, review.why, review.detail, (), core_s, gpu_s, step_s, source)

    @property
    def written_bytes(self) -> int:
        """Return the estimate of the output of its cameras, bytes; that of other packages is unknown."""
        return sum(camera.written_bytes for camera in self.cameras)

    @property
    def scratch_bytes(self) -> int:
        """Return the estimate of intermediate results, bytes."""
        return sum(camera.scratch_bytes for camera in self.cameras)

    @property
    def runs(self) -> bool:
        """Return whether the task would run."""
        return self.why in RUNNING

    @property
    def waits(self) -> bool:
        """Return whether the task would not start, since a requirement is not met."""
        return self.why in _WAITING

    @property
    def fails(self) -> bool:
        """Return whether the task, or one of its cameras, is known to fail."""
        return self.why in _FAILING or any(camera.why in _FAILING for camera in self.cameras)

    def to_json(self) -> dict[str, object]:
        """Return the forecast as plain values."""
        return {
            "task": self.task,
            "runs": self.runs,
            "why": self.why,
            "detail": self.detail,
            "core_s": self.core_s,
            "gpu_s": self.gpu_s,
            "cameras": [asdict(camera) for camera in self.cameras],
        }
