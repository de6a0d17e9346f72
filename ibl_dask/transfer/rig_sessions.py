"""Sessions on an acquisition computer, their raw files, their place at the destination, and transfers in progress."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ibl_dask.model.session import is_session_path

PENDING_FLAGS = (
    "transfer_me.flag",
    "raw_session.flag",
    "create_me.flag",
    "extract_me.flag",
    "extract_ephys.flag",
    "register_me.flag",
    "compress_video.flag",
    "compress_audio.flag",
    "extract_me.error",
    "register_me.error",
)
"""Files by which the field's programs mark a session that is still to be copied, registered or processed, or for which
that failed. `flatiron.flag`, the mark of a session that has arrived, is none of them."""
_PENDING_DEVICES = "_devices/*.status_pending"
"""Marks of iblrig in the session at the destination: a computer has not copied all its files yet."""
_SUBJECTS = "Subjects"


@dataclass(frozen=True, slots=True)
class SessionKey:
    """Identity of a session, wherever it is stored."""

    lab: str | None
    """Lab; None where the folders do not name it."""
    subject: str
    """Nickname of the subject."""
    date: str
    """Date, YYYY-MM-DD."""
    number: str
    """Number on that day, as the folder is called: `1` is neither `10` nor `001`."""


def key_of(session: Path, root: Path) -> SessionKey:
    """Return the identity of a session below a root: lab and subject are folders below the root."""
    parts = session.relative_to(root).parts
    lab = parts[-5] if len(parts) >= 5 and parts[-4] == _SUBJECTS else None
    return SessionKey(lab, *session.parts[-3:])


def find_rig_sessions(root: Path) -> Iterator[Path]:
    """Yield the session folders below a root, in order. No link is followed, and hidden folders are left out."""
    for folder, names, _ in os.walk(root):
        here = Path(folder)
        if is_session_path(here):
            names.clear()
            yield here
        names[:] = sorted(name for name in names if not name.startswith("."))


def raw_files(session: Path, patterns: Sequence[str]) -> Iterator[Path]:
    """Yield files and links in the `raw_*` folders of a session that match one of some patterns, in order.

    Hidden files, which no rig records, are left out.

    Parameters
    ----------
    session : Path
        Session folder.
    patterns : sequence of str
        Patterns such as `*.avi` or `raw_video_data/*`, compared with the name and with the path within the session.
    """
    for folder, names, files in os.walk(session):
        here = Path(folder)
        names[:] = sorted(name for name in names if here != session or name.startswith("raw_"))
        links = [name for name in names if (here / name).is_symlink()]  # not entered by `os.walk`
        for name in [*links, *sorted(files if here != session else ())]:
            path = here / name
            within = path.relative_to(session).as_posix()
            if not name.startswith(".") and any(
                fnmatchcase(name, each) or fnmatchcase(within, each) for each in patterns
            ):
                yield path


def find_copies(remote_root: Path, key: SessionKey, session: Path) -> list[Path]:
    """Return the folders of a session at the destination; other sessions of the same name included if labs are unknown.

    Parameters
    ----------
    remote_root : Path
        Folder of labs, of one lab, or of subjects.
    key : SessionKey
        The session.
    session : Path
        Its folder here, which is no copy of itself.
    """
    tail = Path(key.subject, key.date, key.number)
    labs: dict[Path, str | None] = {remote_root / tail: None, remote_root / _SUBJECTS / tail: None}
    with os.scandir(remote_root) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    labs |= {remote_root / name / _SUBJECTS / tail: name for name in names}
    return [
        path
        for path, lab in labs.items()
        if path.is_dir() and (None in (lab, key.lab) or lab == key.lab) and not path.samefile(session)
    ]


def pending_mark(session: Path) -> str | None:
    """Return the name of a file that marks a session as not fully transferred or processed; None without one."""
    found = next((name for name in PENDING_FLAGS if os.path.lexists(session / name)), None)
    return found or next((path.name for path in sorted(session.glob(_PENDING_DEVICES))), None)
