"""`ibl-dask purge-rig-data`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.table import Column, Table

from ibl_dask.cli.console import err, out, print_table, print_whole
from ibl_dask.cli.guard import printable
from ibl_dask.model.sizes import format_size
from ibl_dask.transfer.purge import purge_rig_data
from ibl_dask.transfer.verdict import FileVerdict, Purge, by_session

_MOST_SINGLE = 40
"""Files up to which each has a line of its own."""


def purge(
    local_root: Path,
    remote_root: Path,
    file_patterns: Sequence[str],
    lab: str | None = None,
    *,
    yes: bool = False,
    every_file: bool = False,
    as_json: bool = False,
) -> int:
    """Print which raw files may go and which stay, with reasons; remove the former if asked. Return the exit code.

    Parameters
    ----------
    local_root, remote_root, file_patterns, lab
        See `purge_rig_data`.
    yes : bool
        Remove files, instead of showing what would be removed.
    every_file : bool
        Print a line per file, however many there are.
    as_json : bool
        Print JSON instead of a table.

    Returns
    -------
    int
        1 if a file that may go could not be removed, or could not be read; else 0.
    """
    sessions: set[Path] = set()

    def note(file: FileVerdict) -> None:
        if file.session not in sessions and err.is_terminal:
            err.print(f"{printable('/'.join(file.session.parts[-3:]))} ...", markup=False)
        sessions.add(file.session)

    patterns = tuple(file_patterns) or ("*",)
    done = purge_rig_data(
        local_root,
        remote_root,
        patterns,
        lab=lab,
        dry=not yes,
        on_file=note,
    )
    if as_json:
        print_whole(json.dumps({key: _plain(value) for key, value in done.to_json().items()}, indent=1))
    else:
        _show(done, every_file)
    return int(any(file.reason in ("not removable", "not readable") for file in done.files))


def _plain(value: object) -> object:
    """Return a value of JSON in valid UTF-8."""
    if isinstance(value, dict):
        return {printable(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return printable(value) if isinstance(value, str) else value


def _show(done: Purge, every_file: bool) -> None:
    """Print the verdicts, those on files that stay last, and the sums."""
    if not done.files:
        out.print(f"no raw file matches, in the sessions below {printable(done.local_root)}", markup=False)
        return
    ordered = sorted(done.files, key=lambda file: not file.may_go)
    print_table(_file_table(ordered) if every_file or len(ordered) <= _MOST_SINGLE else _session_table(ordered))
    n_kept = len(done.files) - len(done.gone)
    verb = "would be removed" if done.is_dry else "removed"
    out.print(f"{_files(len(done.gone))} {verb}, {format_size(done.n_bytes)}; {_files(n_kept)} kept", markup=False)
    if done.is_dry and done.gone:
        out.print("nothing was removed: --yes removes what is proven to be at the destination", markup=False)


def _file_table(files: Sequence[FileVerdict]) -> Table:
    columns = (Column("verdict", no_wrap=True), Column("size", no_wrap=True, justify="right"))
    table = Table(*columns, Column("file", overflow="fold"), Column("why", overflow="fold"), box=None, padding=(0, 1))
    for file in files:
        name = f"{'/'.join(file.session.parts[-3:])}/{file.path.relative_to(file.session)}"
        why = f"{file.reason}: {file.detail}" if file.detail else file.reason
        table.add_row(file.verdict, format_size(file.n_bytes), printable(name), printable(why))
    return table


def _session_table(files: Sequence[FileVerdict]) -> Table:
    names = ("verdict", "files", "size")
    columns = [Column(name, no_wrap=True, justify="left" if name == "verdict" else "right") for name in names]
    table = Table(*columns, Column("session", overflow="fold"), Column("why"), box=None, padding=(0, 1))
    for (session, verdict, reason), group in by_session(files).items():
        n_bytes = sum(file.n_bytes for file in group)
        name = printable("/".join(session.parts[-3:]))
        table.add_row(verdict, f"{len(group):,}", format_size(n_bytes), name, reason)
    return table


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"
