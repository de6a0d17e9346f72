"""Free an acquisition computer: remove raw files whose copies at the destination are proven.

The reference removes a file if a dataset of its name is registered for its session; nothing is read. Here a file goes
only after its own copy, of the same session, folder and name, was read whole and is equal to it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ibl_dask.errors import IblDaskError, MissingFile, SessionLocked, UsageError
from ibl_dask.store.atomic import sweep_temporaries
from ibl_dask.transfer.arrival import Pair, compare
from ibl_dask.transfer.rig_sessions import find_copies, find_rig_sessions, key_of, pending_mark, raw_files
from ibl_dask.transfer.session_lock import held, is_locked
from ibl_dask.transfer.verdict import FileVerdict, Purge, Reason


def purge_rig_data(
    local_folder: str | Path,
    remote_folder: str | Path,
    file_patterns: Sequence[str] = ("*",),
    *,
    lab: str | None = None,
    dry: bool = True,
    on_file: Callable[[FileVerdict], None] | None = None,
) -> Purge:
    """Remove raw files of an acquisition computer that are proven to be at their destination.

    A file in a `raw_*` folder of a session goes if the destination holds a file of the same session (lab where both
    name it, subject, date, number), folder and name, with equal size and equal SHA-256, both read whole in this call,
    and neither changed meanwhile. Links are neither followed nor removed. Sessions with the flag of an unfinished
    transfer on either side stay, and so do sessions that a run holds. Folders within a session go if they held removed
    files alone; session folders stay, since rigs number sessions by them.

    Parameters
    ----------
    local_folder : path
        Folder of the acquisition computer that holds sessions.
    remote_folder : path
        Destination: folder of labs, of one lab, or of subjects.
    file_patterns : sequence of str
        Patterns such as `*.avi`, compared with names and with paths within the session; every raw file by default.
    lab : str, optional
        Lab of the local sessions, where their folders do not name it.
    dry : bool
        Remove nothing, and return what would be removed.
    on_file : callable, optional
        Called with every verdict, as soon as there is one.

    Returns
    -------
    Purge
        A verdict with its reason on each file.

    Raises
    ------
    MissingFile
        If one of the folders does not exist.
    UsageError
        If both are the same folder.
    """
    here, there = _root(local_folder, "the local folder"), _root(remote_folder, "the destination")
    if here.samefile(there):
        raise UsageError(
            "the destination is the local folder itself",
            where=str(there),
            expected="another folder, on the server that the files were copied to",
            got=str(here),
            do="give the folder of the server",
        )
    files: list[FileVerdict] = []
    folders: list[Path] = []
    for session in find_rig_sessions(here):
        verdicts: list[FileVerdict] = []
        for verdict in _judge(session, here, there, file_patterns, lab, dry):
            verdicts.append(verdict)
            if on_file is not None:
                on_file(verdict)
        folders += _remove_empty(session, [verdict.path.parent for verdict in verdicts if verdict.is_removed])
        files += verdicts
    return Purge(here, there, dry, tuple(files), tuple(folders))


def purge_local_data(
    local_folder: str | Path,
    filename: str = "*",
    lab: str | None = None,
    dry: bool = True,
    one: object = None,
    *,
    remote_folder: str | Path | None = None,
) -> list[Path]:
    """Call `purge_rig_data` like the function of the reference; return the files that were, or would be, removed.

    Parameters
    ----------
    local_folder, lab, dry, remote_folder
        See `purge_rig_data`. `dry` is true by default, unlike in the reference.
    filename : str
        Pattern of names, or of paths within the session.
    one : None
        Connection to a database, which proves nothing of a file and is refused.

    Raises
    ------
    UsageError
        Without `remote_folder`, or with a connection to a database.
    """
    if remote_folder is None or one is not None:
        raise UsageError(
            "files are compared with those at the destination, not with the entries of a database",
            where="purge_local_data",
            expected="remote_folder=, a folder of the server, and no `one`",
            got="no remote_folder" if remote_folder is None else "a connection to a database",
            do="mount the server's folder here, and give it as remote_folder",
        )
    purge = purge_rig_data(local_folder, remote_folder, (filename,), lab=lab, dry=dry)
    return [file.path for file in purge.gone]


def _root(folder: str | Path, role: str) -> Path:
    path = Path(os.path.realpath(Path(folder).expanduser()))
    if not path.is_dir():
        raise MissingFile(
            f"{role} does not exist",
            where=str(folder),
            expected="an existing folder",
            got="nothing at this path" if not path.exists() else "no folder",
            do="check the path, and that the disk is mounted",
        )
    return path


def _judge(
    session: Path,
    here: Path,
    there: Path,
    patterns: Sequence[str],
    lab: str | None,
    dry: bool,
) -> Iterator[FileVerdict]:
    """Yield a verdict on each raw file of a session, after its removal where that is wanted."""
    paths = list(raw_files(session, patterns))
    found = _place_of(session, here, there, lab)
    if not isinstance(found, Path):
        yield from (_unread(path, session, *found) for path in paths)
        return
    pairs = [Pair(here, session, path, there, found) for path in paths]
    if dry and is_locked(session):
        yield from (pair.verdict("session in use", "a run has locked it", _size(pair.path)) for pair in pairs)
        return
    try:
        with contextlib.nullcontext() if dry or not pairs else held(session):
            if not dry:
                sweep_temporaries(session)
            for pair in pairs:
                mark = _pending(pair.session, pair.remote_session)
                if mark is not None:
                    yield _unread(pair.path, session, "transfer not finished", mark)
                else:
                    yield compare(pair, removes=not dry)
    except SessionLocked as error:
        yield from (pair.verdict("session in use", error.got, _size(pair.path)) for pair in pairs)
    except IblDaskError as error:  # the session cannot be locked
        yield from (pair.verdict("not removable", error.what, _size(pair.path)) for pair in pairs)


def _place_of(session: Path, here: Path, there: Path, lab: str | None) -> Path | tuple[Reason, str]:
    """Return the folder of a session at the destination, or the reason for which its files stay."""
    key = key_of(session, here)
    if lab is not None:
        key = type(key)(lab, key.subject, key.date, key.number)
    try:
        found = find_copies(there, key, session)
    except OSError as error:
        return "not readable", f"{error.strerror or error}"
    name = "/".join(session.parts[-3:])
    if not found:
        return "no session at the destination", f"no {name} in {there}"
    if len(found) > 1:
        return "several sessions at the destination", ", ".join(map(str, found))
    mark = _pending(session, found[0])
    return found[0] if mark is None else ("transfer not finished", mark)


def _pending(*sessions: Path) -> str | None:
    """Return the mark of an unfinished transfer in one of some session folders, with its place."""
    marks = ((pending_mark(session), session) for session in sessions)
    return next((f"{mark} in {session}" for mark, session in marks if mark is not None), None)


def _unread(path: Path, session: Path, reason: Reason, detail: str) -> FileVerdict:
    return FileVerdict(path, session, reason, detail, _size(path))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _remove_empty(session: Path, folders: Sequence[Path]) -> list[Path]:
    """Remove the folders of removed files, and those above them within the session, that are empty now."""
    removed = []
    for folder in dict.fromkeys(folders):
        while folder != session:
            try:
                folder.rmdir()
            except OSError:
                break  # something else is in it, or it is gone
            removed.append(folder)
            folder = folder.parent
    return removed
