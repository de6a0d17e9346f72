"""Lists of rows: those of a session, those that can be read, and their statuses."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ibl_dask.alyx.client import Alyx, status_of
from ibl_dask.alyx.task_row import TaskRow, is_id
from ibl_dask.errors import AlyxRefused, AlyxUnreachable, UsageError
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.status import Status

_log = logging.getLogger(__name__)

_PER_REQUEST = 50
"""Identifiers in one request: servers take a first line of 4 kB."""


def read_deck(alyx: Alyx, eid: str) -> list[JsonObject]:
    """Return the rows of a session.

    A row without a status makes the list of a session fail; the others are then listed by status.
    """
    try:
        return alyx.rows("tasks", session=eid)
    except (AlyxRefused, AlyxUnreachable) as error:
        if status_of(error) != 500:
            raise
    return [row for status in Status for row in alyx.rows("tasks", session=eid, status=str(status))]


def readable(rows: Iterable[JsonObject]) -> list[TaskRow]:
    """Return the rows that can be read; each of the others is logged."""
    found = []
    for row in rows:
        try:
            found.append(TaskRow.read(row))
        except UsageError as error:
            _log.warning("%s", error)
    return found


def statuses_in(rows: Iterable[Mapping[str, object]]) -> dict[str, Status]:
    """Return identifier -> status of rows; rows with a status that is none are left out."""
    known = tuple(Status)
    return {str(row["id"]): Status(str(row["status"])) for row in rows if row.get("status") in known}


def statuses_of(alyx: Alyx, rows: Sequence[TaskRow], deck: Iterable[JsonObject] = ()) -> dict[str, Status]:
    """Return the statuses of the tasks of the sessions of some rows, and of their parents wherever these are.

    A parent that Alyx does not have is left out.

    Parameters
    ----------
    alyx : Alyx
        The database.
    rows : sequence of TaskRow
        The rows.
    deck : iterable of mapping
        Rows that are known; sessions of which none is known are listed.
    """
    deck = list(deck)
    found = statuses_in(deck)
    listed = {row.get("session") for row in deck}
    for eid in dict.fromkeys(row.session for row in rows if row.session not in listed):
        found |= statuses_in(read_deck(alyx, eid))
    for parent in dict.fromkeys(parent for row in rows for parent in row.parents):
        if parent not in found and is_id(parent):
            try:
                found |= statuses_in([alyx.read("tasks", parent)])
            except AlyxRefused as error:
                if status_of(error) != 404:
                    raise
    return found


def statuses_by_id(alyx: Alyx, ids: Iterable[str]) -> dict[str, Status]:
    """Return the statuses of tasks by their identifiers; those that Alyx does not have, or cannot show, are left out.

    Parameters
    ----------
    alyx : Alyx
        The database.
    ids : iterable of str
        Identifiers; texts that are none are left out, since Alyx evaluates the filter.
    """
    known = [identifier for identifier in dict.fromkeys(ids) if is_id(identifier)]
    found: dict[str, Status] = {}
    for start in range(0, len(known), _PER_REQUEST):
        uuids = known[start : start + _PER_REQUEST]
        try:
            found |= statuses_in(alyx.rows("tasks", django=f"pk__in,{uuids}"))
        except (AlyxRefused, AlyxUnreachable) as error:
            if not alyx.is_of_one(error):
                raise
            found |= statuses_in(_shown(alyx, uuids))
    return found


def _shown(alyx: Alyx, ids: Iterable[str]) -> Iterator[JsonObject]:
    """Yield tasks one by one, without those that Alyx cannot show."""
    for identifier in ids:
        try:
            yield alyx.read("tasks", identifier)
        except (AlyxRefused, AlyxUnreachable) as error:
            if not alyx.is_of_one(error):
                raise
