"""Failure of a step, task or session as a value: an error in its five parts, plain enough for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from ibl_dask.errors import HEADINGS, format_message


@dataclass(frozen=True, slots=True)
class Failure:
    """Error met during a run; see `ibl_dask.errors.IblDaskError` for the five parts."""

    kind: str
    """Name of the error class."""
    category: str
    """Place of the cause, one of `ibl_dask.errors.CATEGORIES`; records of older versions have others."""
    what: str
    """The problem, in one sentence. The whole message where it comes from a version that kept no parts."""
    where: str = ""
    """File, camera or session concerned."""
    expected: str = ""
    """Expected state."""
    got: str = ""
    """Actual state."""
    do: str = ""
    """Next step for the reader."""
    notes: tuple[str, ...] = ()
    """Additional sentences, such as the number of attempts."""
    traceback: str = ""
    """Traceback; only for an unexpected error."""

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Return (heading, text) of all that follows the problem: the parts that are given, then the notes."""
        given = [(heading, str(getattr(self, name))) for name, heading in HEADINGS.items() if getattr(self, name)]
        return (*given, *(("Note", note) for note in self.notes))

    @property
    def message(self) -> str:
        """Return the whole as one paragraph, the same as that of the error."""
        has_parts = any((self.where, self.expected, self.got, self.do))
        text = format_message(self.what, self.where, self.expected, self.got, self.do) if has_parts else self.what
        return " ".join([text, *self.notes])

    def to_json(self) -> dict[str, object]:
        """Return all parts, and the whole message for readers that know no parts."""
        return {**asdict(self), "message": self.message}

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> Failure:
        """Read the output of `to_json`, or a record of an earlier version: kind, category, message and traceback.

        Raises
        ------
        TypeError, AttributeError
            If `content` is no such record.
        """
        words = {field.name: str(content.get(field.name) or "") for field in fields(cls) if field.name != "notes"}
        notes = content.get("notes") or ()
        if not isinstance(notes, list | tuple):
            raise TypeError(f"notes of a failure are a list, not a {type(notes).__name__}")
        if "what" not in content:
            words["what"] = str(content.get("message") or "")
        return cls(**words, notes=tuple(str(note) for note in notes))
