"""`ibl-dask logs`."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ibl_dask.cli.console import out, print_table
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import MissingFile, UsageError
from ibl_dask.model.choices import advice
from ibl_dask.model.session import Session
from ibl_dask.model.status import Status
from ibl_dask.store.task_log_reader import (
    Attempt,
    LastWords,
    Reading,
    find_attempts,
    find_logs,
    last_words,
    read_attempt,
    title_of,
)
from ibl_dask.store.workspace import LOGS

LOOK_S = 0.5
"""Interval at which a log is looked at that is followed, s."""
_HEADINGS = ("task", "attempts", "last status", "size", "last line")
_UNWELL = ("", Status.ERRORED, Status.ABANDONED)
"""Statuses of attempts that `--failed` shows; one without an end was killed, or still runs."""


def show_logs(
    session: str,
    task: str | None,
    output_root: Path | None,
    attempt: int | None,
    failed: bool,
    follow: bool,
    n_lines: int | None,
) -> int:
    """Print which tasks of a session have logs, or the log of one; return 1 if there is nothing to print.

    Parameters
    ----------
    session : str
        Session folder, or the folder of its results.
    task : str or None
        Name of the task or of its class; None lists all.
    output_root : Path or None
        Folder of the results, where they are not in the session.
    attempt : int or None
        Number of the attempt; the latest by default.
    failed : bool
        Only tasks whose latest attempt failed; of one task, the latest attempt that failed.
    follow : bool
        Go on printing as the log grows, until Ctrl-C.
    n_lines : int or None
        Only the last lines.
    """
    (path, *others) = find_sessions([session])
    if others:
        raise UsageError(
            "logs are shown of one session",
            expected="a session folder",
            got=f"{session}, which holds {len(others) + 1} of them",
            do="name one of them",
        )
    folder = Session(path, output_root).own / LOGS
    logs = find_logs(folder)
    if task is None:
        if attempt is not None or follow or n_lines is not None:
            raise UsageError(
                "an attempt is shown of one task",
                expected="the name of a task after the session",
                got="none",
                do=f"name one of these: {', '.join(logs)}" if logs else "list the logs first, without options",
            )
        return _show_table(folder, logs, failed=failed)
    name = find_task(task, logs, folder)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            _print_last(n_lines, follow_task(logs[name][-1].hosts[0][0].parent))
        return 0
    _print_last(n_lines, read_attempt(_choose(name, logs[name], attempt, folder, failed=failed)))
    return 0


def find_task(given: str, logs: Mapping[str, Sequence[Attempt]], folder: Path) -> str:
    """Return the task that is meant by a name, in any case, or by that of its class.

    Parameters
    ----------
    given : str
        The name.
    logs : mapping
        Attempts by task.
    folder : Path
        Folder of the logs, for the message.

    Raises
    ------
    MissingFile
        If no task has left a log.
    UsageError
        If no task, or more than one, has that name.
    """
    if given in logs:
        return given
    if not logs:
        raise _no_logs(folder)
    classes = {name: title_of(attempts[-1])[1] for name, attempts in logs.items()}
    wanted = given.lower()
    meant = [name for name in logs if name.lower() == wanted]
    meant = meant or [name for name, cls in classes.items() if cls.lower() == wanted.rpartition(".")[2]]
    if len(meant) == 1:
        return meant[0]
    raise UsageError(
        f"several tasks are of class {given}" if meant else f"no task {given} has a log here",
        where=str(folder),
        expected=", ".join(meant or logs),
        got=given,
        do="name one of these" if meant else advice(given, [*logs, *filter(None, classes.values())]),
    )


def _no_logs(folder: Path) -> MissingFile:
    return MissingFile(
        "no task has left a log here",
        where=str(folder),
        expected="a folder for each task that ran",
        got="none",
        do="run the session; name the folder of its results with --output-root where they are elsewhere",
    )


def _choose(name: str, attempts: Sequence[Attempt], number: int | None, folder: Path, *, failed: bool) -> Attempt:
    """Return the attempt to print: the latest that fits."""
    fitting = [each for each in attempts if number in (None, each.number)]
    fitting = [each for each in fitting if not failed or _is_failed(last_words(each))]
    if fitting:
        return fitting[-1]
    numbers = ", ".join(str(each.number) for each in attempts)
    if number is None:
        what, do = f"no attempt at {name} failed", "leave --failed out for the latest attempt"
    else:
        what, do = f"there is no such attempt at {name}", "leave --attempt out for the latest"
    raise UsageError(
        what,
        where=str(folder),
        expected="an attempt that failed, or has no end" if failed else f"one of {numbers}",
        got=f"attempts {numbers} without a failure" if number is None else str(number),
        do=do,
    )


def _is_failed(words: LastWords) -> bool:
    return words.status in _UNWELL


def _show_table(folder: Path, logs: Mapping[str, Sequence[Attempt]], *, failed: bool) -> int:
    """Print a row per task; `--failed` leaves out those whose latest attempt came to a good end."""
    if not logs:
        raise _no_logs(folder)
    rows = []
    for name, attempts in logs.items():
        words = last_words(attempts[-1])
        if failed and not _is_failed(words):
            continue
        numbers = f"{attempts[0].number}-{attempts[-1].number}" if len(attempts) > 1 else str(attempts[0].number)
        size = f"{sum(each.n_bytes for each in attempts) / 1e3:,.0f} kB"
        last = words.time or datetime.fromtimestamp(attempts[-1].changed_s, UTC).isoformat(timespec="seconds")
        rows.append((name, numbers, words.status or "no end", size, f"{last} {words.text}".strip()))
    table = Table(box=None, padding=(0, 1), expand=True)
    for n, heading in enumerate(_HEADINGS):
        # The last column gives way on a narrow terminal.
        table.add_column(heading, no_wrap=True, overflow="ellipsis", ratio=1 if n == len(_HEADINGS) - 1 else None)
    for row in rows:
        table.add_row(*map(Text, row))
    print_table(table)
    out.print(f"logs: {folder}", markup=False)
    return 0


def _print_last(n_lines: int | None, records: Iterator[str]) -> None:
    """Print records as they come; with a limit, the last lines of those that are there at first."""
    if n_lines is not None:
        lines: deque[str] = deque(maxlen=n_lines)
        for record in records:
            if not record:  # all that was there is read
                break
            lines.extend(record.splitlines(keepends=True))
        _print("".join(lines))
    for record in records:
        _print(record)
    out.file.flush()


def _print(text: str) -> None:
    if text:
        out.file.write(text)
    else:
        out.file.flush()


def follow_task(folder: Path, is_over: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """Yield the records of the latest attempt, and then what is added to it and to later ones.

    An empty text means that all that was there is read.

    Parameters
    ----------
    folder : Path
        Folder of the task's logs.
    is_over : callable
        Polled; ends the watch once it returns True.
    """
    reading = Reading()
    number = 0
    while True:
        is_last = is_over()
        for attempt in find_attempts(folder)[0 if number else -1 :]:
            if attempt.number >= number:
                number = attempt.number
                yield from reading.more(attempt)
        yield ""
        if is_last:
            return
        time.sleep(LOOK_S)
