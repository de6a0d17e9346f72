"""Copies of sessions: made whole under a temporary name, read back, and compared with their originals."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from ibl_dask.errors import AlreadyThere, DiskFull, NotASession, TransferIncomplete, UsageError
from ibl_dask.model.session import Session, is_session_path
from ibl_dask.store.atomic import make_folder, sweep_temporaries, sync_folder, temporary_name
from ibl_dask.store.disk import explain_os_error, nearest_folder
from ibl_dask.store.identity import sha256_of
from ibl_dask.transfer.folder_listing import Listing, find_changes, find_differences, list_folder
from ibl_dask.transfer.session_lock import held, is_locked

_MOST_NAMED = 5
_BLOCK_BYTES = 1 << 20


SessionPath = str | Path | Session
"""A session, or a path of one."""


def check_transfer(src_session_path: SessionPath, dst_session_path: SessionPath) -> None:
    """Require that a copy of a folder holds what its original holds, and nothing else.

    Names with their folders, sizes, targets of links and the SHA-256 of every file are compared; the reference compares
    names without folders, and sizes.

    Parameters
    ----------
    src_session_path : path or Session
        Original: a session, or a folder of one.
    dst_session_path : path or Session
        Copy.

    Raises
    ------
    TransferIncomplete
        If they differ; also an AssertionError, as in the reference.
    NotASession
        If one of the folders does not exist.
    """
    src, dst = absolute(src_session_path), absolute(dst_session_path)
    for folder in (src, dst):
        if not folder.is_dir():
            raise _no_folder(folder)
    listed = list_folder(src)
    differences = find_differences(listed, list_folder(dst))
    for within, entry in listed.items():
        if not differences and entry.state.is_plain and sha256_of(src / within) != sha256_of(dst / within):
            differences.append(f"{within}: other content")
    if differences:
        raise _differs(src, dst, differences)


def copy_session(session_path: SessionPath, new_session_path: SessionPath) -> Path:
    """Copy a session; the copy gets its name when it is complete, on disk and compared with the original.

    Parameters
    ----------
    session_path : path or Session
        Session folder.
    new_session_path : path or Session
        Folder of the copy, ending in `subject/YYYY-MM-DD/NNN`. It must not exist.

    Returns
    -------
    Path
        The copy.

    Raises
    ------
    AlreadyThere
        If there is something at the new path; it stays as it is.
    SessionLocked
        If a run holds the session.
    TransferIncomplete
        If the session changed meanwhile, or the copy on disk is not equal to it.
    DiskFull, NotWritable
        If there is no room, or no permission.
    """
    src, dst = source_of(session_path), target_of(session_path, new_session_path)
    require_free(dst)
    with contextlib.ExitStack() as stack:
        if os.access(src, os.W_OK):
            stack.enter_context(held(src))
        elif is_locked(src):
            stack.enter_context(held(src))  # raises, with the holder
        make_copy(src, dst)
    return dst


def make_copy(src: Path, dst: Path) -> Listing:
    """Copy a session that the caller holds; return the listing of the original at that time. See `copy_session`."""
    listed = list_folder(src)
    make_folder(dst.parent)
    sweep_temporaries(dst.parent, f".{dst.name}.*.tmp", below=False)
    _require_room(listed, dst)
    temporary = temporary_name(dst)
    try:
        temporary.mkdir()
        try:
            _copy_entries(src, temporary, listed)
        except OSError as error:
            raise explain_os_error(error, dst) or error from error
        changed = find_changes(listed, list_folder(src))
        if changed:
            raise _changed(src, changed)
        require_free(dst)
        try:
            temporary.rename(dst)
        except OSError as error:
            raise _taken(dst, error) from error
        sync_folder(dst.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return listed


def _copy_entries(src: Path, dst: Path, listed: Listing) -> None:
    """Copy all entries of a folder, with their times and permissions, and read each file back."""
    for within, entry in listed.items():
        if entry.is_folder:
            (dst / within).mkdir()
        elif entry.state.is_link:
            (dst / within).symlink_to(entry.target)
        else:
            digest = _copy_file(src / within, dst / within)
            if sha256_of(dst / within) != digest:
                raise _differs(src, dst, [f"{within}: other content when it was read back"])
    for within, entry in reversed(list(listed.items())):
        shutil.copystat(src / within, dst / within, follow_symlinks=False)
        if entry.is_folder:
            sync_folder(dst / within)
    shutil.copystat(src, dst)
    sync_folder(dst)


def _copy_file(path: Path, target: Path) -> str:
    """Copy one file, and return the SHA-256 of what was read."""
    digest = hashlib.sha256()
    with path.open("rb") as source, target.open("xb") as file:
        while block := source.read(_BLOCK_BYTES):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def absolute(path: SessionPath) -> Path:
    """Return the absolute path of a session or a folder; links are kept."""
    return path.path if isinstance(path, Session) else Path(path).expanduser().absolute()


def source_of(session_path: SessionPath) -> Path:
    """Return the folder of an existing session, which is no link.

    Raises
    ------
    NotASession
        If it is none.
    """
    given = absolute(session_path)
    if given.is_symlink():
        raise NotASession(
            "this session folder is a link",
            where=str(given),
            expected="the folder itself",
            got=f"a link to {given.readlink()}",
            do="give the folder that the link leads to",
        )
    session = Session(given)
    session.look()
    return session.path


def target_of(session_path: SessionPath, new_session_path: SessionPath) -> Path:
    """Return the absolute path that a session is to be copied or moved to.

    Raises
    ------
    NotASession
        If it does not end in subject/YYYY-MM-DD/NNN.
    UsageError
        If it is within the session, or the session itself.
    """
    src, dst = absolute(session_path), Path(os.path.abspath(absolute(new_session_path)))  # noqa: PTH100  # links stay
    if not is_session_path(dst):
        raise NotASession(
            "this is no name for a session folder",
            where=str(dst),
            expected="a path that ends in subject/YYYY-MM-DD/NNN, for instance SW_001/2023-05-01/001",
            got="/".join(dst.parts[-3:]),
            do="give the whole path of the new session folder",
        )
    place = nearest_folder(dst)
    real = Path(os.path.realpath(place), *dst.relative_to(place).parts)
    if real.is_relative_to(os.path.realpath(src)):
        raise UsageError(
            "a session cannot be copied or moved into itself",
            where=str(dst),
            expected="a path outside of the session",
            got=str(src),
            do="give another path",
        )
    return dst


def require_free(dst: Path) -> None:
    """Raise if there is anything at a path but an empty folder.

    Raises
    ------
    AlreadyThere
        If there is something.
    """
    if os.path.lexists(dst) and (dst.is_symlink() or not dst.is_dir() or any(dst.iterdir())):
        raise _taken(dst)


def _taken(dst: Path, error: OSError | None = None) -> AlreadyThere:
    return AlreadyThere(
        "there is something at the new path of the session",
        where=str(dst),
        expected="nothing at this path, or an empty folder",
        got="a session, a file or a link" if error is None else str(error.strerror or error),
        do="compare the two (`check_transfer`), and move one of them elsewhere (`backup_session` copies it)",
    )


def _require_room(listed: Listing, dst: Path) -> None:
    n_bytes = sum(entry.state.n_bytes for entry in listed.values() if entry.state.is_plain)
    free = shutil.disk_usage(nearest_folder(dst)).free
    if n_bytes > free:
        raise DiskFull(
            "there is no room for a copy of this session",
            where=str(dst),
            expected=f"{n_bytes:,} bytes",
            got=f"{free:,} bytes free",
            do="free some room, or choose another disk",
        )


def _no_folder(folder: Path) -> NotASession:
    return NotASession(
        "this folder does not exist",
        where=str(folder),
        expected="an existing folder",
        got="nothing at this path" if not folder.exists() else "no folder",
        do="check the path, and that the disk is mounted",
    )


def _named(parts: list[str]) -> str:
    more = f"; and {len(parts) - _MOST_NAMED} more" if len(parts) > _MOST_NAMED else ""
    return "; ".join(parts[:_MOST_NAMED]) + more


def _differs(src: Path, dst: Path, differences: list[str]) -> TransferIncomplete:
    return TransferIncomplete(
        "a copy is not equal to its original",
        where=str(dst),
        expected=f"what is in {src}",
        got=_named(differences),
        do="copy these files again",
    )


def _changed(src: Path, changed: list[str]) -> TransferIncomplete:
    return TransferIncomplete(
        "the session changed while it was copied",
        where=str(src),
        expected="a session that no program writes to",
        got=_named(changed),
        do="wait until these files are complete, and try again; nothing was moved",
    )


def raise_changed(src: Path, changed: list[str]) -> None:
    """Raise if files of a session changed while it was copied.

    Raises
    ------
    TransferIncomplete
        If there are any.
    """
    if changed:
        raise _changed(src, changed)
