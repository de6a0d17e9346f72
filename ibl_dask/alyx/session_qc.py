"""Checks of a session in Alyx: the keys of all results in one reading and one writing, as a field is replaced whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ibl_dask.alyx.task_result import TaskResult
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.outcome import Outcome


def merged_qc(results: Iterable[TaskResult], session: JsonObject) -> dict[str, object]:
    """Return the fields of a session to be changed for the checks of some results; empty if nothing changes.

    Keys that others wrote are kept. The outcome of the session only becomes worse, as in `ibllib.qc.base.QC.update`.

    Parameters
    ----------
    results : iterable of TaskResult
        Results, oldest first.
    session : mapping
        The session as Alyx has it.
    """
    before = session.get("extended_qc")
    present = dict(before) if isinstance(before, Mapping) else {}
    merged = dict(present)
    worst = Outcome.NOT_SET
    for result in results:
        merged.update(result.qc)
        worst = max(worst, Outcome[result.outcome] if result.outcome else Outcome.NOT_SET)
    changes: dict[str, object] = {}
    if merged != present:
        changes["extended_qc"] = merged
    if worst > Outcome.__members__.get(str(session.get("qc")), Outcome.NOT_SET):
        changes["qc"] = worst.name
    return changes
