"""Rows of tables with one session each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from ibl_dask.model.failure import Failure


class SessionRow(TypedDict, total=False):
    """One session of a run; all but `session` may be missing."""

    session: str
    """subject/date/number."""
    path: str
    """Session folder."""
    state: str
    """waiting, put off, running, done, failed, interrupted or not started."""
    planned: int
    """Steps that were planned."""
    done: int
    """Steps that ended."""
    kept: int
    """Those of them that were found finished."""
    chunks_done: int
    """Chunks of video computed in this run."""
    chunks_kept: int
    """Chunks of video kept from an earlier run."""
    tasks: Mapping[str, str]
    """Task -> status."""
    qc: Mapping[str, str]
    """Camera -> worst outcome of its checks."""
    failures: Sequence[Failure]
    """Errors of the session."""
    task_failures: Mapping[str, Sequence[Failure]]
    """Task that ended with errors -> these."""
    delays: Sequence[Failure]
    """Reasons for which the session or a task of it had to wait."""
    waiting: Mapping[str, Failure]
    """Task that did not start -> reason."""
    not_required: Sequence[str]
    """Tasks that wait without being required."""
    passed_over: bool
    """True if the session has none of the requested tasks."""
    report: str
    """Path of its report; empty where there is none."""
