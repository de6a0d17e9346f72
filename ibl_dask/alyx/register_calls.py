"""Calls of `register-file` that never overlap, so that no file gets two records.

Alyx looks for the record of a file, then makes one. Of two calls at once both make it, and from then on every call that
names the file fails. So a call is not sent again while the first may be at work: the datasets of the session are read
until they stay the same, and only those that lack are asked for again. That holds from process to process.

Source: measured on Alyx 3.6.1 (8 programs registered one file: 2 records in 5 of 5 tries).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.refusals import is_collision
from ibl_dask.alyx.revisions import plain_path, revision_of
from ibl_dask.alyx.task_result import Output
from ibl_dask.errors import AlyxRefused, AlyxUnreachable
from ibl_dask.model.json_object import JsonObject

_MOST_TRIES = 5
"""Calls for the same files without an answer, before they are left for another time."""
_MOST_LOOKS = 50
"""Looks at the datasets of a session that keep changing."""


class CallNote(Protocol):
    """Note on disk of calls whose results are not settled: a process that is killed leaves it to its successor."""

    @property
    def open_calls(self) -> frozenset[str]:
        """Return the sessions of such calls."""

    def begin_call(self, session: str) -> None:
        """Note a call; whoever settles its results removes the note."""


class _Lost(Exception):  # it never leaves this module
    """No answer came."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Time for which the datasets of a session must stay the same, before a lost call counts as ended."""

    base_s: float = 5.0
    """Least time, s."""
    per_file_s: float = 0.1
    """Time per file, s; Alyx takes 40-65 ms for each."""


class RegisterCalls:
    """Calls of `register-file`, one after the other.

    Parameters
    ----------
    alyx : Alyx
        The client.
    note : CallNote
        See `CallNote`.
    quiet : Quiet
        See `Quiet`.
    sleep : callable
        A pause, s.
    """

    def __init__(self, alyx: Alyx, note: CallNote, quiet: Quiet, sleep: Callable[[float], None] = time.sleep) -> None:
        self._alyx, self._note, self._quiet, self._sleep = alyx, note, quiet, sleep
        self._answered: set[str] = set()
        """Sessions whose latest call is known to have come to its end."""

    def send(
        self, session_id: str, common: Mapping[str, object], rows: Sequence[tuple[Output, str]]
    ) -> dict[str, JsonObject]:
        """Register files, and return path -> record of the dataset.

        Parameters
        ----------
        session_id : str
            Id of the session in Alyx.
        common : mapping
            Fields of the body that are not about single files.
        rows : sequence of (Output, str)
            The files, and the version of the code that made each.

        Raises
        ------
        AlyxRefused
            If it is refused; files before the refused one may be registered.
        AlyxUnreachable
            If there is no answer, or one that lacks files.
        """
        done: dict[str, JsonObject] = {}
        for _ in range(_MOST_TRIES):
            left = [row for row in rows if row[0].path not in done]
            if not left:
                return done
            try:
                return done | self._call(session_id, common, left)
            except _Lost:
                done |= self.made_before(session_id, left)
        raise AlyxUnreachable(
            "Alyx gives no answer to the registration of files",
            where=str(common.get("path")),
            expected="an answer",
            got=f"none, in {_MOST_TRIES} calls",
            do="results stay in the spool, and are sent by ibl-dask alyx sync; see whether Alyx is overloaded",
        )

    def made_before(self, session_id: str, rows: Sequence[tuple[Output, str]]) -> dict[str, JsonObject]:
        """Return path -> record of those files that a call registered whose results are not settled.

        Where that call may be at work still, its end is waited for.
        """
        if session_id not in self._note.open_calls:
            return {}
        is_over = session_id in self._answered
        present = self.datasets(session_id) if is_over else self._settled(session_id, len(rows))
        self._answered.add(session_id)
        return {output.path: record for output, version in rows if (record := _made(present, output, version))}

    def datasets(self, session_id: str) -> list[JsonObject]:
        """Return the datasets of a session as records: with the id that the end of their address is."""
        rows = self._alyx.rows("datasets", session=session_id)
        return [{**row, "id": row.get("id") or str(row.get("url", "")).rpartition("/")[2]} for row in rows]

    def _call(
        self, session_id: str, common: Mapping[str, object], rows: Sequence[tuple[Output, str]]
    ) -> dict[str, JsonObject]:
        body = {
            **common,
            "filenames": [output.path for output, _ in rows],
            "hashes": [output.md5 for output, _ in rows],
            "filesizes": [output.size for output, _ in rows],
            "versions": [version or None for _, version in rows],
        }
        self._note.begin_call(session_id)
        self._answered.discard(session_id)
        try:
            answers = self._alyx.request("POST", "/register-file", body=body, on_lost=_lose)
        except (AlyxRefused, AlyxUnreachable) as error:
            if isinstance(error, AlyxRefused) and is_collision(error):
                raise _Lost from error  # another program registers these files at this moment
            self._answered.add(session_id)
            raise
        self._answered.add(session_id)
        if not isinstance(answers, list) or len(answers) != len(rows):
            n_answers = len(answers) if isinstance(answers, list) else 0
            raise AlyxUnreachable(
                "Alyx registered fewer files than it was asked to",
                where=str(common.get("path")),
                expected=f"{len(rows)} datasets",
                got=f"status 201 with {n_answers}",
                do="this is tried again; report it to the administrator of Alyx if it happens each time",
            )
        return {output.path: {**row, "id": str(row["id"])} for (output, _), row in zip(rows, answers, strict=True)}

    def _settled(self, session_id: str, n_files: int) -> list[JsonObject]:
        """Return the datasets of a session once they have stayed the same for a while."""
        before: list[JsonObject] | None = None
        for _ in range(_MOST_LOOKS):
            now = sorted(self.datasets(session_id), key=lambda row: str(row["id"]))
            if now == before:
                return now
            before = now
            self._sleep(self._quiet.base_s + n_files * self._quiet.per_file_s)
        raise AlyxUnreachable(
            "the datasets of a session keep changing",
            where=session_id,
            expected="no other program that registers its files",
            got=f"a change between each two of {_MOST_LOOKS} looks",
            do="see which other program registers files of this session, and let one of them do it",
        )


def _lose() -> None:
    raise _Lost


def _made(rows: Iterable[JsonObject], output: Output, version: str) -> JsonObject | None:
    """Return the record of a file among datasets, if the lost call has made it or brought it up to date."""
    for row in rows:
        is_equal = (row.get("hash"), row.get("version") or "") == (output.md5, version)
        if is_equal and row.get("file_size") == output.size and is_of(row, output.path):
            return row
    return None


def is_of(row: JsonObject, path: str) -> bool:
    """Return whether a dataset is that of a path, its revision included."""
    collection, name = plain_path(path).rpartition("/")[::2]
    found = row.get("collection") or "", row.get("revision") or "", row.get("name")
    return found == (collection, revision_of(path), name)
