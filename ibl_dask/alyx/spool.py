"""Spool of results on disk: each is one file, written whole before anything is sent, by any process on any host.

::

    pending/  <time>-<key>.json   results to be sent, oldest first
    dead/     <time>-<key>.json   results that Alyx refuses, each with the reason
    sent.jsonl                    a line for each result that was sent; sent-<time>.jsonl are older
    writer.json                   the lock of the one process that sends
    registering.json              sessions whose files were sent for registration, while their results are here
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ibl_dask.alyx.task_result import TaskResult, fit_for_alyx, require_usable
from ibl_dask.errors import IblDaskError, SessionLocked, UnusableFile
from ibl_dask.model.failure import Failure
from ibl_dask.model.text import read_text
from ibl_dask.store.atomic import make_folder, sweep_temporaries, sync_folder, writing_path
from ibl_dask.store.lock import Held, holding

SPOOL_FOLDER = "alyx"
"""Name of the spool within the work folder."""
COUNTED_EVERY_S = 300.0
"""Least time between two failures of one result that are counted, s."""
LARGEST_SENT_BYTES = 32 << 20
"""Size from which the list of sent results is begun anew; the older ones are kept."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A result in the spool."""

    path: Path
    """Its file."""
    result: TaskResult
    """The result."""
    n_failed: int = 0
    """Failures of the server with this result while it answered other requests, one each `COUNTED_EVERY_S` at most."""
    failed_s: float = 0.0
    """Unix time of the last one that was counted, s."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A result that is not sent any more."""

    path: Path
    """Its file."""
    session: str
    """subject/date/number; empty where the file cannot be read."""
    task: str
    """Name of the task."""
    reason: str
    """Message of the error."""


class Spool:
    """Spool in a folder, which is made when it is first written to.

    Parameters
    ----------
    folder : Path
        Its folder, on a disk that all hosts see which write to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def _pending(self) -> Path:
        return self.folder / "pending"

    @property
    def _dead(self) -> Path:
        return self.folder / "dead"

    # -- for everyone -----------------------------------------------------------------------------------------------

    def add(self, result: TaskResult) -> Path:
        """Write a result; once this returns, it is on disk and will be sent.

        Raises
        ------
        UnusableFile
            If a name in it leaves the session.
        NotWritable
            If it cannot be written.
        """
        result = fit_for_alyx(result)
        require_usable(result)
        self._make(self._pending)
        path = self._pending / f"{round(result.made_s * 1e6):017d}-{result.key}.json"
        _write(path, result.to_json())
        return path

    def pending(self) -> list[Letter]:
        """Return the results to be sent, oldest first; damaged files are set aside."""
        letters = []
        for path in _files(self._pending):
            try:
                content = _read(path)
                result = TaskResult.from_json(_plain(content), str(path))
                letters.append(Letter(path, result, int(_number(content, "n_failed")), _number(content, "failed_s")))
            except FileNotFoundError:
                continue
            except UnusableFile as error:
                self._set_aside(path, error)
        return letters

    def dead(self) -> list[DeadLetter]:
        """Return the results that are not sent any more."""
        found = []
        for path in _files(self._dead):
            content: Mapping[str, Any] = {}
            with contextlib.suppress(UnusableFile, FileNotFoundError):
                content = _read(path)
            result = content.get("result") or {}
            names = result if isinstance(result, dict) else {}
            reason = str((content.get("reason") or {}).get("message") or "the file cannot be read")
            found.append(DeadLetter(path, str(names.get("session", "")), str(names.get("task", "")), reason))
        return found

    def n_pending(self) -> int:
        """Return the number of results to be sent."""
        return len(_files(self._pending))

    def sent(self) -> dict[str, dict[str, Any]]:
        """Return the results that were sent lately: key -> line."""
        found: dict[str, dict[str, Any]] = {}
        older = sorted(self.folder.glob("sent-*.jsonl"))[-1:]
        for path in (*older, self.folder / "sent.jsonl"):
            with contextlib.suppress(FileNotFoundError):
                for line in read_text(path).splitlines():
                    with contextlib.suppress(ValueError, TypeError, KeyError):  # the last one of a killed process
                        row = json.loads(line)
                        found[row["key"]] = row
        return found

    # -- for the writer ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Iterator[Held]:
        """Be the one process that sends from this spool.

        Raises
        ------
        SessionLocked
            If another process does so.
        """
        self._make(self._pending)
        lock = self.folder / "writer.json"
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(holding(lock))
            except SessionLocked as error:
                raise SessionLocked(
                    "another process sends the results of this spool",
                    where=str(lock),
                    expected="one process per spool",
                    got=error.got,
                    do="leave it to that process, or stop it; if it is surely gone, remove the lock file",
                ) from error
            sweep_temporaries(self._pending, below=False)
            sweep_temporaries(self._dead, below=False)
            yield held

    def update(self, letter: Letter, result: TaskResult) -> Letter:
        """Note a change of a result, before anything is done upon it."""
        return self._rewrite(replace(letter, result=result))

    def count_failure(self, letter: Letter, now_s: float) -> Letter:
        """Count a failure of the server with a result, unless one was counted a moment ago.

        Parameters
        ----------
        letter : Letter
            The result.
        now_s : float
            Unix time, s.
        """
        if abs(now_s - letter.failed_s) < COUNTED_EVERY_S:
            return letter
        return self._rewrite(replace(letter, n_failed=letter.n_failed + 1, failed_s=now_s))

    def _rewrite(self, letter: Letter) -> Letter:
        content = {**letter.result.to_json(), "n_failed": letter.n_failed, "failed_s": letter.failed_s}
        _write(letter.path, content)
        return letter

    def settle(self, letter: Letter, receipt: Mapping[str, object]) -> None:
        """Note that a result was sent, and remove it."""
        line = {
            "key": letter.path.stem.rpartition("-")[2],
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "session": letter.result.session,
            "task": letter.result.task,
            "status": letter.result.status,
            **receipt,
        }
        path = self.folder / "sent.jsonl"
        if path.exists() and path.stat().st_size > LARGEST_SENT_BYTES:
            path.rename(path.with_name(f"sent-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.jsonl"))
        handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(handle, (json.dumps(line) + "\n").encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        letter.path.unlink(missing_ok=True)

    def bury(self, letter: Letter, error: IblDaskError) -> None:
        """Set a result aside for which Alyx has no use as it is, with the reason."""
        self._bury(letter.path, letter.result.to_json(), error)

    def revive(self) -> int:
        """Put the results that were set aside back, to be sent again; return their number.

        Raises
        ------
        SessionLocked
            If another process sends from this spool.
        """
        n_revived = 0
        with self.writing():  # else it could set the same one aside at this moment
            for path in _files(self._dead):
                try:
                    result = TaskResult.from_json(_read(path).get("result") or {}, str(path))
                except (UnusableFile, FileNotFoundError, AttributeError):
                    continue
                _write(self._pending / path.name, result.to_json())
                path.unlink(missing_ok=True)
                n_revived += 1
        return n_revived

    def _set_aside(self, path: Path, error: UnusableFile) -> None:
        """Set a damaged file aside, with its bytes as text."""
        content = path.read_bytes().decode("utf-8", "replace")
        self._bury(path, {"damaged": content}, error)

    def _bury(self, path: Path, content: Mapping[str, object], error: IblDaskError) -> None:
        self._make(self._dead)
        reason = Failure(
            type(error).__name__, error.category, error.what, error.where, error.expected, error.got, error.do
        )
        _write(self._dead / path.name, {"result": content, "reason": reason.to_json()})
        path.unlink(missing_ok=True)

    @property
    def open_calls(self) -> frozenset[str]:
        """Return the sessions whose files were sent for registration, and whose results are not settled."""
        try:
            found = _read(self._calls).get("sessions")
        except (FileNotFoundError, UnusableFile):
            return frozenset()
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    def begin_call(self, session: str) -> None:
        """Note that files of a session are about to be sent."""
        known = self.open_calls
        if session not in known:
            _write(self._calls, {"sessions": sorted({*known, session})})

    def end_call(self, session: str) -> None:
        """Note that the results of a session are settled."""
        known = self.open_calls
        if session in known:
            _write(self._calls, {"sessions": sorted(known - {session})})

    @property
    def _calls(self) -> Path:
        return self.folder / "registering.json"

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            make_folder(folder)
            with contextlib.suppress(OSError):
                self.folder.chmod(0o700)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))


def _write(path: Path, content: Mapping[str, object]) -> None:
    text = json.dumps(content, allow_nan=False)
    with writing_path(path, len(text)) as temporary:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    sync_folder(path.parent)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(read_text(path))
        if isinstance(content, dict):
            return content
        got = type(content).__name__
    except (ValueError, RecursionError) as error:
        got = str(error)
    raise UnusableFile(
        "a file of the spool is damaged",
        where=str(path),
        expected="an object of JSON",
        got=got,
        do="register the session again: ibl-dask alyx sync SESSION",
    )


def _plain(content: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in content.items() if name not in ("n_failed", "failed_s")}


def _number(content: Mapping[str, Any], name: str) -> float:
    found = content.get(name, 0)
    return found if isinstance(found, int | float) else 0
