"""Failures of many sessions, grouped by their cause."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from ibl_dask.model.description import LABELS
from ibl_dask.model.failure import Failure
from ibl_dask.report.session_rows import SessionRow

_LABEL = "|".join(LABELS)
_MASKS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE), "<id>"),
    # Of a path the file name stays: it often is the cause. That of a folder is of the session.
    (re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\",;:()]+[/\\])*(?=[^\s/\\'\",;:()]*)"), "<folder>/"),
    (re.compile(r"\d{4}-\d{2}-\d{2}([/\\]\d{3})?"), "<date>"),
    (re.compile(rf"(?<=_)(?:{_LABEL})(?=Camera)|\b(?:{_LABEL})\b"), "<camera>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{12,}\b", re.IGNORECASE), "#"),
    (re.compile(r"\d(?:[\d.,]*\d)?"), "#"),
    (re.compile(r"(# \w+?)s\b"), r"\1"),
)
"""What differs between sessions with one cause, and the word in its place."""

_CAMERA = re.compile(rf"(?<=_)({_LABEL})(?=Camera)|\b({_LABEL}) camera\b|^({_LABEL})\b")
_TOLD_APART_BY = {
    "DescriptionError": "got",
    "IblDaskError": "got",
    "MissingEnvironment": "got",
    "NotASession": "got",
    "TaskFailed": "got",
    "UnreadableVideo": "got",
    "MissingFile": "expected",
    "MissingOutput": "expected",
}
"""Class of an error -> part that tells its causes apart where the problem alone does not."""
_LOG = "; the end of its log:"
_NAMED = 3
_LONGEST = 2000


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures with one cause."""

    cause: str
    """Class, category and problem without what varies; the same in every list of groups."""
    first: Failure
    """The first of them; its five parts stand for all."""
    is_wait: bool
    """Whether tasks only wait that were not asked for by name: an environment, a database or another run."""
    n_failures: int
    """Number of failures."""
    sessions: tuple[str, ...]
    """Sessions concerned (subject/date/number), each once, in the order of the run."""
    cameras: tuple[str, ...] = ()
    """Labels of the cameras concerned, as far as the failures name them."""
    tasks: tuple[str, ...] = ()
    """Names of the tasks concerned, as far as they are known."""

    @property
    def category(self) -> str:
        """Return the category of the cause, one of `ibl_dask.errors.CATEGORIES`."""
        return self.first.category

    @property
    def reason(self) -> str:
        """Return the problem, in one sentence, as of the first failure."""
        return self.first.what

    @property
    def do(self) -> str:
        """Return the next step."""
        return self.first.do

    @property
    def examples(self) -> tuple[str, ...]:
        """Return the first few sessions."""
        return self.sessions[:_NAMED]

    def to_json(self) -> dict[str, object]:
        """Return all of it as plain values, with every session."""
        return {
            "category": self.category,
            "kind": self.first.kind,
            "reason": self.reason,
            "do": self.do,
            "is_wait": self.is_wait,
            "n_sessions": len(self.sessions),
            "n_failures": self.n_failures,
            "cameras": list(self.cameras),
            "tasks": list(self.tasks),
            "sessions": list(self.sessions),
            "first": self.first.to_json(),
        }


@dataclass(slots=True)
class _Growing:
    first: Failure
    n: int = 0
    sessions: dict[str, str] = field(default_factory=dict)
    cameras: dict[str, None] = field(default_factory=dict)
    tasks: dict[str, None] = field(default_factory=dict)


def group_failures(rows: Iterable[SessionRow]) -> list[FailureGroup]:
    """Group the failures of some sessions by cause, the worst first.

    Two failures have one cause if they are of one class and category and differ only in what varies between sessions:
    folders, dates, cameras, numbers. Failures come before waits, then what concerns more sessions comes first, then
    disks and bugs.

    Parameters
    ----------
    rows : iterable of SessionRow
        Sessions of a run.
    """
    found: dict[tuple[str, bool], _Growing] = {}
    for row in rows:
        subject = row["session"].split("/")[0] if row["session"].count("/") == 2 else ""
        for failure, is_wait, tasks in _failures_of(row):
            cause = " ".join((failure.category, failure.kind, _cause(failure, subject)))
            group = found.setdefault((cause, is_wait), _Growing(failure))
            group.n += 1
            group.sessions.setdefault(row.get("path") or row["session"], row["session"])
            group.cameras.update(dict.fromkeys(cameras_of(failure)))
            group.tasks.update(dict.fromkeys(tasks))
    groups = [
        FailureGroup(cause, g.first, is_wait, g.n, tuple(g.sessions.values()), tuple(g.cameras), tuple(g.tasks))
        for (cause, is_wait), g in found.items()
    ]
    return sorted(groups, key=_rank)


def cameras_of(failure: Failure) -> list[str]:
    """Return the labels of the cameras that a failure names."""
    texts = (failure.what, failure.where, failure.expected)
    found = (label for text in texts for match in _CAMERA.finditer(text) for label in match.groups() if label)
    return list(dict.fromkeys(found))


def session_failures(row: SessionRow) -> list[Failure]:
    """Return the failures of a session, each once, without waits."""
    return list(dict.fromkeys(failure for failure, is_wait, _ in _failures_of(row) if not is_wait))


def _failures_of(row: SessionRow) -> Iterator[tuple[Failure, bool, list[str]]]:
    """Yield each failure of a session once, whether it is a wait, and its tasks."""
    of_task = row.get("task_failures") or {}
    waiting = row.get("waiting") or {}
    failures = list(dict.fromkeys([*(row.get("failures") or ()), *(f for each in of_task.values() for f in each)]))
    # Journals of before 0.1 do not name them: a session that failed for nothing else lacks those that wait.
    required = set(waiting) if not failures and row.get("state") == "failed" else set()
    if "not_required" in row:
        required = set(waiting).difference(row["not_required"])
    for failure in failures:
        tasks = [task for task, each in of_task.items() if failure in each]
        tasks += [task for task, reason in waiting.items() if reason == failure]
        yield failure, False, tasks
    waits: dict[Failure, list[str]] = {}
    for task, reason in waiting.items():
        waits.setdefault(reason, []).append(task)
    for delay in row.get("delays") or ():
        waits.setdefault(delay, [])
    for reason, tasks in waits.items():
        if reason not in failures:
            yield reason, required.isdisjoint(tasks), tasks


def _cause(failure: Failure, subject: str) -> str:
    part = _TOLD_APART_BY.get(failure.kind)
    apart = getattr(failure, part).partition(_LOG)[0] if part else ""
    text = f"{failure.what} {apart}"
    return mask(text.replace(subject, "<subject>") if len(subject) > 2 else text)


@lru_cache(4096)
def mask(text: str) -> str:
    """Return a text without what varies between sessions: folders, dates, cameras, numbers."""
    text = " ".join(text[:_LONGEST].split())
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


_BEFORE = ("disk", "bug")


def _rank(group: FailureGroup) -> tuple[object, ...]:
    first = _BEFORE.index(group.category) if group.category in _BEFORE else len(_BEFORE)
    return group.is_wait, -len(group.sessions), first, group.reason
