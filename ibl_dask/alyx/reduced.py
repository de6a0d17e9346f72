"""The part of a result that the spool takes: a file of an odd name must not lose the end of its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ibl_dask.alyx.task_result import TaskResult, require_usable
from ibl_dask.errors import UnusableFile
from ibl_dask.model.status import Status

_LONGEST_NAME = 64


def reduced(result: TaskResult, error: UnusableFile) -> TaskResult:
    """Return a result without its unusable files, notes and letters of its name, and with the reason in its log.

    A task that ran is Errored then: not all that it made is in Alyx.

    Parameters
    ----------
    result : TaskResult
        The result that the spool refused.
    error : UnusableFile
        The refusal.
    """
    has_run = result.status not in (Status.WAITING, Status.HELD)
    bare = replace(
        result,
        task="".join(letter for letter in result.task if letter.isprintable())[:_LONGEST_NAME] or "task",
        status=str(Status.ERRORED) if has_run else result.status,
        log="\n".join(filter(None, [result.log.rstrip("\n"), f"left out of the result: {error.got}"])),
        outputs=(),
        notes=(),
        moved={},
        qc=result.qc if isinstance(result.qc, Mapping) else {},
        outcome="",
    )
    return replace(
        bare,
        outputs=tuple(each for each in result.outputs if _is_usable(replace(bare, outputs=(each,)))),
        notes=tuple(each for each in result.notes if _is_usable(replace(bare, notes=(each,)))),
    )


def _is_usable(result: TaskResult) -> bool:
    try:
        require_usable(result)
    except UnusableFile:
        return False
    return True
