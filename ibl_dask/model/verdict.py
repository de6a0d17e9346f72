"""Verdicts of people on the keypoints of a camera, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ibl_dask.model.json_object import JsonObject

Decision = Literal["accept", "rerun", "exclude", "label"]
"""accept: they may be used; rerun: estimate them anew; exclude: use them for nothing; label: label frames first."""
DECISIONS: tuple[Decision, ...] = get_args(Decision)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on the keypoints of a camera."""

    camera: str
    """Label."""
    decision: Decision
    """The decision."""
    reason: str
    """Reason, in the words of its author."""
    by: str
    """Its author."""
    at: str
    """Time, ISO 8601 in UTC with microseconds."""
    tracker: str = ""
    """dlc or lightningPose; empty for whatever there is."""
    tables: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Tracker -> SHA-256 of the table that was judged."""

    def __str__(self) -> str:
        """Return the verdict as a line."""
        of = f" ({self.tracker})" if self.tracker else ""
        return f"{self.camera}{of}: {self.decision}, by {self.by} on {self.at[:10]}: {self.reason}"

    def to_json(self) -> JsonObject:
        """Return the verdict as JSON."""
        return {**asdict(self), "tables": dict(self.tables)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Verdict:
        """Read a verdict.

        Raises
        ------
        KeyError, TypeError, ValueError, AttributeError
            If it is none.
        """
        decision = content["decision"]
        if decision not in DECISIONS:
            raise ValueError(f"{decision!r} is no decision")
        texts = {name: content[name] for name in ("camera", "reason", "by", "at", "tracker")}
        if wrong := [name for name, text in texts.items() if not isinstance(text, str)]:
            raise TypeError(f"no text: {', '.join(wrong)}")
        tables = {str(tracker): str(digest) for tracker, digest in content["tables"].items()}
        return cls(decision=decision, tables=tables, **texts)


def _about(verdicts: Iterable[Verdict], camera: str, tracker: str) -> list[Verdict]:
    return [each for each in verdicts if each.camera == camera and each.tracker in ("", tracker)]


def current_verdict(verdicts: Sequence[Verdict], camera: str, tracker: str) -> Verdict | None:
    """Return the latest verdict on the keypoints of a camera by a tracker; None if there is none.

    Parameters
    ----------
    verdicts : sequence of Verdict
        Verdicts of a session, in order.
    camera, tracker : str
        Label, and dlc or lightningPose.
    """
    return next(iter(reversed(_about(verdicts, camera, tracker))), None)


def is_excluded(verdicts: Sequence[Verdict], camera: str, tracker: str) -> bool:
    """Return whether the keypoints of a camera are to be used for nothing; see `current_verdict`."""
    found = current_verdict(verdicts, camera, tracker)
    return found is not None and found.decision == "exclude"


def rerun_mark(verdicts: Sequence[Verdict], camera: str, tracker: str) -> str:
    """Return what makes the estimation after the latest wish for one another than those before it; empty without any.

    It is part of fingerprints. Later verdicts leave it alone, so that keypoints that were estimated anew, and accepted
    then, are not estimated once more.
    """
    found = [each.at for each in _about(verdicts, camera, tracker) if each.decision == "rerun"]
    return found[-1] if found else ""
