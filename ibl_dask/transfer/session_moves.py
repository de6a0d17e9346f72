"""Moving, renaming and backing up sessions: whole or not at all, and never onto something else.

On one disk a session moves by a rename, which the system does at once, and refuses where there is something. To
another disk it is copied, the copy is compared, and the original goes last.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import shutil
from pathlib import Path
from secrets import token_hex

from ibl_dask.errors import TransferIncomplete, UsageError
from ibl_dask.model.places import complaint
from ibl_dask.model.session import is_session_path
from ibl_dask.store.atomic import make_folder, sweep_temporaries, sync_folder, temporary_name
from ibl_dask.store.disk import explain_os_error
from ibl_dask.store.lock import Held
from ibl_dask.transfer.folder_listing import Listing, find_changes, find_differences, list_folder
from ibl_dask.transfer.session_copies import (
    SessionPath,
    absolute,
    check_transfer,
    copy_session,
    make_copy,
    raise_changed,
    require_free,
    source_of,
    target_of,
)
from ibl_dask.transfer.session_lock import held, lock_of

_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
BACKUP_FOLDER = "Subjects_backup_renamed_sessions"
"""Folder of backups, beside that of the subjects; the name is the reference's."""


def move_session(session_path: SessionPath, new_session_path: SessionPath) -> Path:
    """Move a session to another path, on the same or another disk.

    To another disk it is copied first; the original is removed once the copy was read back and the original has not
    changed since. A call that was interrupted in between leaves both, and the next one removes the original.

    Parameters
    ----------
    session_path : path or Session
        Session folder.
    new_session_path : path or Session
        Its new path, ending in `subject/YYYY-MM-DD/NNN`. There must be nothing there.

    Returns
    -------
    Path
        The new path.

    Raises
    ------
    AlreadyThere
        If there is something at the new path; both stay as they are.
    SessionLocked
        If a run holds the session.
    TransferIncomplete
        If the session changed meanwhile.
    """
    _put_back(absolute(session_path))
    src, dst = source_of(session_path), target_of(session_path, new_session_path)
    with held(src) as lock:
        make_folder(dst.parent)
        try:
            src.rename(dst)  # refused by the system where there is a file, a link or a folder that is not empty
        except OSError as error:
            if error.errno in _TAKEN:
                require_free(dst)
            if error.errno != errno.EXDEV:
                raise explain_os_error(error, dst) or error from error
        else:
            lock.path = lock_of(dst)
            for folder in (dst.parent, src.parent):
                sync_folder(folder)
            return dst
        _move_to_other_disk(src, dst, lock)
    return dst


def _put_back(src: Path) -> None:
    """Give a session its name again that a killed call had set aside."""
    found = sorted(src.parent.glob(f".{src.name}.moved-*"))
    if len(found) == 1 and not os.path.lexists(src):
        found[0].rename(src)


def _move_to_other_disk(src: Path, dst: Path, lock: Held) -> None:
    sweep_temporaries(src.parent, f".{src.name}.*.tmp", below=False)
    if not _is_copied(src, dst):
        copied = make_copy(src, dst)
    else:
        copied = list_folder(src)
        check_transfer(src, dst)
    _remove(src, dst, copied, lock)


def _is_copied(src: Path, dst: Path) -> bool:
    """Return whether an interrupted call made the copy already; raise if there is anything else."""
    with contextlib.suppress(TransferIncomplete):
        if dst.is_dir() and not dst.is_symlink() and any(dst.iterdir()):
            check_transfer(src, dst)
            return True
    require_free(dst)
    return False


def _remove(src: Path, dst: Path, copied: Listing, lock: Held) -> None:
    """Remove a session whose copy is proven: its name goes at once, its files after both were looked at again."""
    raise_changed(src, find_changes(copied, list_folder(src)))
    aside = src.with_name(f".{src.name}.moved-{token_hex(4)}")  # which no sweep removes, while it may be the only one
    src.rename(aside)
    lock.path = lock_of(aside)
    try:
        raise_changed(src, find_changes(copied, list_folder(aside)))
        # Of one folder under two mounts, this was the only name.
        missing = find_differences(copied, list_folder(dst)) if dst.is_dir() else [f"{dst}: gone with the original"]
        raise_changed(src, missing)
    except BaseException as error:
        try:
            aside.rename(src)
        except OSError as refused:
            raise TransferIncomplete(
                "a session changed while it was moved, and its name was taken meanwhile",
                where=str(aside),
                expected=f"no other {src}",
                got=str(error),
                do="this folder is the session: compare it with what has come in its place, and give it its name again",
            ) from refused
        lock.path = lock_of(src)
        raise
    removed = temporary_name(src)  # swept by the next call if this process is killed
    try:
        aside.rename(removed)
        lock.path = lock_of(removed)
        shutil.rmtree(removed)
    except OSError as error:
        raise explain_os_error(error, removed) or error from error


def rename_session(
    session_path: SessionPath,
    new_subject: str | None = None,
    new_date: str | None = None,
    new_number: str | int | None = None,
    ask: bool = False,
) -> Path:
    """Give a session another subject, date or number.

    Parameters
    ----------
    session_path : path or Session
        Session folder, or a path within one.
    new_subject, new_date, new_number : str, optional
        New nickname, date (YYYY-MM-DD) and number, which is filled up to three digits; unchanged where not given.
    ask : bool
        Ask on the terminal for all three; an empty answer leaves one unchanged.

    Returns
    -------
    Path
        The new path.

    Raises
    ------
    UsageError
        If a part is no name, date or number.
    AlreadyThere
        If there is a session of that name; both stay as they are.
    SessionLocked
        If a run holds the session.

    Notes
    -----
    Folders are renamed, and nothing else: entries of a database, and names inside files, stay as they are.
    """
    src = source_of(_session_above(absolute(session_path)))
    subject, date, number = src.parts[-3:]
    if ask:
        new_subject = input(f"Please insert subject NAME [current value: {subject}]> ")
        new_date = input(f"Please insert new session DATE [current value: {date}]> ")
        new_number = input(f"Please insert new session NUMBER [current value: {number}]> ")
    subject = _checked_subject(new_subject or subject)
    date = _checked_date(new_date or date)
    number = number if new_number in (None, "") else _checked_number(str(new_number))
    dst = src.parents[2] / subject / date / number
    return src if dst == src else move_session(src, dst)


def backup_session(session_path: SessionPath) -> bool:
    """Copy a session to `Subjects_backup_renamed_sessions`, beside the folder of the subjects; return True.

    Parameters
    ----------
    session_path : path or Session
        Session folder.

    Raises
    ------
    NotASession
        If there is none; the reference returns False.
    AlreadyThere
        If there is a backup of that name.
    """
    src = source_of(session_path)
    copy_session(src, src.parents[3].joinpath(BACKUP_FOLDER, *src.parts[-3:]))
    return True


def _session_above(path: Path) -> Path:
    """Return the session that a path leads into; the path itself if it is in none."""
    return next((folder for folder in (path, *path.parents) if is_session_path(folder)), path)


def _checked_subject(text: str) -> str:
    fault = complaint(text, is_name=True)
    if fault is not None:
        raise _no_part("subject", text, "one name", fault)
    return text


def _checked_date(text: str) -> str:
    try:
        if datetime.date.fromisoformat(text).isoformat() == text:
            return text
        fault = "another form of a date"
    except ValueError as error:
        fault = str(error)
    raise _no_part("date", text, "a date such as 2023-05-01", fault)


def _checked_number(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise _no_part("number", text, "a number of at most three digits", "none")
    return text.zfill(3)


def _no_part(part: str, text: str, expected: str, got: str) -> UsageError:
    return UsageError(
        f"this is no {part} of a session",
        where=repr(text),
        expected=expected,
        got=got,
        do="give another one; nothing was renamed",
    )
