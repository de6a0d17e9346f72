"""Results of steps: disposition, outputs, notes and facts, with typed forms for results that other steps read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal, Self

from ibl_dask.model.failure import Failure

Disposition = Literal["complete", "empty", "waiting", "incomplete"]
"""complete: everything was made; empty: nothing was to be done; waiting: to be tried again later; incomplete: every
output is there, and not all that it should hold."""
WorkKind = Literal["decode", "encode", "infer"]
"""Kinds of measured work: decoding and measuring frames, compressing them, or estimating poses on them."""


@dataclass(frozen=True, slots=True)
class Work:
    """Amount of work of a step, for rates and counts."""

    kind: WorkKind
    """decode, encode or infer."""
    frames: int
    """Frames of video."""
    pixels: int = 0
    """Pixels of these frames; 0 where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Result of a step.

    A subclass adds typed fields that other steps read; they stand beside the facts in JSON, under their own names.
    """

    disposition: Disposition = "complete"
    """How the step ended; an error is no result, see `StepRecord.failure`."""
    reason: str | Failure = ""
    """Cause of waiting, or description of what is incomplete."""
    is_kept: bool = False
    """True where results of an earlier run were found and nothing was computed."""
    outputs: tuple[Path, ...] = ()
    """Files that the step left in the session."""
    spent: tuple[Path, ...] = ()
    """Folders of scratch that another attempt needs, and nobody once the result is recorded: removed then."""
    notes: tuple[str, ...] = ()
    """Remarks for the report and the checks."""
    log: Path | None = None
    """Log file of the step, if it has one of its own."""
    work: Work | None = None
    """Measured work; None for steps that are not counted."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Counts and short facts for journal and report; JSON."""

    always_notes: ClassVar[bool] = False
    """Write an empty list of notes to JSON, as readers of the record expect."""

    def to_json(self) -> dict[str, object]:
        """Return the result as one flat mapping: `outputs`, `notes`, `log` and `work` beside typed fields and facts.

        A disposition other than complete is a key of its own: `empty` (True), `waiting` or `incomplete` (the reason).
        `is_kept` is left out: it is the status of the record.
        """
        content: dict[str, object] = {**self._typed_json(), **self.facts}
        if self.notes or self.always_notes:
            content["notes"] = list(self.notes)
        if self.outputs:
            content["outputs"] = [str(path) for path in self.outputs]
        if self.log is not None:
            content["log"] = str(self.log)
        if self.work is not None:
            content["work"] = {"kind": self.work.kind, "frames": self.work.frames, "pixels": self.work.pixels}
        if self.disposition != "complete":
            content[self.disposition] = True if self.disposition == "empty" else _reason_json(self.reason)
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> Self:
        """Build a result from the mapping that `to_json` returns; keys that are no fields become facts."""
        rest = dict(content)
        disposition: Disposition = "complete"
        reason: object = ""
        named: tuple[Disposition, ...] = ("incomplete", "empty", "waiting")
        for name in named:
            if name in rest:
                disposition, reason = name, rest.pop(name)
        typed = cls._typed_from_json(rest)
        outputs, notes, log, work = (rest.pop(name, None) for name in ("outputs", "notes", "log", "work"))
        return cls(
            disposition=disposition,
            reason=_read_reason(reason),
            outputs=tuple(Path(str(path)) for path in _listed(outputs)),
            notes=tuple(str(note) for note in _listed(notes)),
            log=None if log is None else Path(str(log)),
            work=Work(**work) if isinstance(work, dict) else None,
            facts=rest,
            **typed,  # type: ignore[arg-type]  # fields of the subclass, by name
        )

    def _typed_json(self) -> dict[str, object]:
        """Return the fields that a subclass adds, as JSON."""
        return {name: _plain(getattr(self, name)) for name in _own_fields(type(self))}  # type: ignore[arg-type]  # of mypy: hashable

    @classmethod
    def _typed_from_json(cls, rest: dict[str, object]) -> dict[str, object]:
        """Take the fields that a subclass adds out of a mapping."""
        return {name: rest.pop(name) for name in _own_fields(cls) if name in rest}  # type: ignore[arg-type]


def _reason_json(reason: str | Failure) -> object:
    return reason.to_json() if isinstance(reason, Failure) else reason


def _read_reason(reason: object) -> str | Failure:
    if isinstance(reason, Mapping):
        return Failure.from_json(reason)
    return "" if reason is True else str(reason)


EMPTY = Result()
"""Result of a step that failed or was skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoIndexed(Result):
    """A video with a frame index: size, number of frames and identity."""

    camera: str
    """Label of the camera."""
    video: Path
    """The file."""
    frames: int
    """Frames, places without a picture included."""
    identity: Mapping[str, object]
    """Identity of the content and of the decoder; see `FrameIndex.identity`."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    codec: str
    """Name of the codec, as FFmpeg names it."""
    empty_places: int = 0
    """Places of the file that hold no picture."""
    is_raw: bool = False
    """True for the source of a compression, whose copy is indexed as well."""

    always_notes: ClassVar[bool] = True

    def _typed_json(self) -> dict[str, object]:
        """Return the typed fields; camera and role are those of the step."""
        names = (name for name in _own_fields(VideoIndexed) if name not in ("camera", "is_raw"))
        return {name: _plain(getattr(self, name)) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class CamerasJudged(Result):
    """Overall outcomes of the checks, by camera."""

    cameras: Mapping[str, str]
    """Label -> name of the outcome."""


@cache
def _own_fields(cls: type[Result]) -> list[str]:
    shared = {known.name for known in fields(Result)}
    return [known.name for known in fields(cls) if known.name not in shared]


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else []
