"""Summary of how the times of a camera were obtained, and the result of the steps that time it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from ibl_dask.model.outcome import Outcome
from ibl_dask.model.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingSummary:
    """Counts, drift and remarks of an alignment of frames with pulses."""

    method: str = ""
    """How frames were tied to pulses: pins, counts, intervals, wheel, ..."""
    start: int = 0
    """Number of the pulse of the first frame."""
    n_pulses: int = 0
    """Pulses."""
    n_surplus_start: int = 0
    """Pulses before the first frame."""
    n_surplus_end: int = 0
    """Pulses after the last frame."""
    n_missing_start: int = 0
    """Frames before the first pulse."""
    n_missing_end: int = 0
    """Frames after the last pulse."""
    n_dropped: int = 0
    """Pulses between two frames that no frame shows."""
    n_not_measured: int = 0
    """Frames whose time is interpolated, extrapolated or assumed."""
    period_s: float
    """Usual time between two exposures, s."""
    drift_ppm: float | None = None
    """Drift of the camera's clock against the main clock, parts per million."""
    assumed: str = ""
    """Reason why times are assumed; empty where none is."""
    n_assumed: int = 0
    """Frames of assumed times."""
    notes: tuple[str, ...] = ()
    """Remarks."""
    hint: str = "NOT_SET"
    """Name of the best outcome that the check of the times may have."""
    hint_if_confirmed: str = "NOT_SET"
    """The same if the wheel confirms the times."""
    flagged: bool = False
    """True where frames are flagged as not measured."""
    n_ttl_rises: int | None = None
    """Rises of the TTL that is wired to the camera's pin; None where none is."""

    @property
    def outcome(self) -> Outcome:
        """Return the best outcome that the check of the times may have."""
        return Outcome[self.hint]

    def to_json(self) -> dict[str, object]:
        """Return a mapping that `from_json` reads back."""
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> TimingSummary:
        """Read a mapping; other keys are passed over, and absent ones have their defaults."""
        known = {field.name: content[field.name] for field in fields(cls) if field.name in content}
        notes = known.pop("notes", ())
        return cls(notes=tuple(map(str, notes if isinstance(notes, (list, tuple)) else ())), **known)  # type: ignore[arg-type]  # as it was written


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesTimed(Result):
    """Times of a camera that are on disk; the notes of the summary stand for those of the result."""

    frames: int
    """Frames of the video."""
    timing: TimingSummary
    """How their times were obtained."""
    wheel: Mapping[str, object] | None = None
    """Comparison with the wheel; None before it was made."""

    def _typed_json(self) -> dict[str, object]:
        wheel = {} if self.wheel is None else {"wheel": dict(self.wheel)}
        return {"frames": self.frames, **self.timing.to_json(), **wheel}

    @classmethod
    def _typed_from_json(cls, rest: dict[str, object]) -> dict[str, object]:
        timing = TimingSummary.from_json(rest)
        for known in fields(TimingSummary):
            rest.pop(known.name, None)
        return {"frames": rest.pop("frames"), "timing": timing, "wheel": rest.pop("wheel", None)}
