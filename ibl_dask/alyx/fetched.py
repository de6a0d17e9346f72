"""Record of the files of a session that were fetched, and their eviction: a file without a record is never touched."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ibl_dask.alyx.remote_files import RemoteFile
from ibl_dask.alyx.task_result import is_uuid
from ibl_dask.errors import AlreadyThere
from ibl_dask.model.places import complaint
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.store.atomic import make_folder, sync_folder, temporary_name, write_text
from ibl_dask.store.json_files import read_object

_log = logging.getLogger(__name__)

RECORD = f"{OWN_FOLDER}/fetched.json"
"""The record, in the session."""
PARTS = f"{OWN_FOLDER}/fetching"
"""Folder of files that have not come whole, in the session."""
RECORD_VERSION = 1


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file as it was when it was fetched."""

    dataset: str
    """Identifier of its dataset."""
    size: int
    """Size, bytes."""
    mtime_ns: int
    """Time of its last change, ns."""
    md5: str | None = None
    """MD5 that Alyx had for it."""

    def is_unchanged(self, path: Path) -> bool:
        """Return whether a file is still the one that was fetched."""
        try:
            there = path.lstat()
        except OSError:
            return False
        return (there.st_size, there.st_mtime_ns) == (self.size, self.mtime_ns)


class FetchRecord:
    """Record of one session. For many threads.

    Parameters
    ----------
    session : Path
        Session folder.
    session_id : str
        Identifier of the session in Alyx.
    files : mapping
        Path below the session -> file.
    done : str
        Fingerprint of the request that succeeded before the files were evicted; empty while they are here.
    """

    def __init__(self, session: Path, session_id: str, files: Mapping[str, FetchedFile], done: str = "") -> None:
        self.session, self.session_id = session, session_id
        self.files = dict(files)
        self.done = done
        self._lock = threading.Lock()

    @classmethod
    def read(cls, session: Path) -> FetchRecord | None:
        """Read the record of a session; None where it was not fetched, or the record makes no sense."""
        content = read_object(session / RECORD)
        eid = content.get("session_id")
        if content.get("version") != RECORD_VERSION or not isinstance(eid, str) or not is_uuid(eid):
            return None
        try:
            files = {str(path): FetchedFile(**row) for path, row in dict(content["files"]).items()}
        except (KeyError, TypeError, ValueError):
            return None
        inside = {path: file for path, file in files.items() if complaint(path) is None}
        return cls(session, eid, inside, str(content.get("done") or ""))

    @classmethod
    def begin(cls, session: Path, session_id: str) -> FetchRecord:
        """Make the folder of a session, with an empty record in it from the start, and return that.

        Raises
        ------
        NotWritable
            If the folder cannot be made.
        AlreadyThere
            If a folder of that name has come meanwhile, which was not fetched.
        """
        make_folder(session.parent)
        draft = temporary_name(session)
        record = cls(draft, session_id, {})
        record.write()
        try:
            draft.rename(session)  # onto an empty folder at most
        except OSError as error:
            (draft / RECORD).unlink()
            (draft / OWN_FOLDER).rmdir()
            draft.rmdir()
            raise AlreadyThere(
                "the folder that a session is fetched into has come meanwhile",
                where=str(session),
                expected="no folder, or one that was fetched",
                got=error.strerror or str(error),
                do="run again: a folder with files of its own is run as it is",
            ) from error
        record.session = session
        sync_folder(session.parent)
        return record

    def part_of(self, file: RemoteFile) -> Path:
        """Return the place of a file while it comes; of another content it is another place."""
        name = file.id if is_uuid(file.id) else "unnamed"
        return self.session / PARTS / f"{name}-{file.md5 or file.size}.part"

    def has(self, file: RemoteFile) -> bool:
        """Return whether a file is here as Alyx lists it: fetched and unchanged, or not from us."""
        known = self.files.get(file.path)
        path = self.session / file.path
        if not os.path.lexists(path):
            return False
        return known is None or not known.is_unchanged(path) or (known.dataset, known.md5) == (file.id, file.md5)

    def accept(self, file: RemoteFile, part: Path) -> None:
        """Give a file that came whole its name, unless the user put one of that name there meanwhile.

        It is recorded first: a file without a record counts as the user's.
        """
        target = self.session / file.path
        make_folder(target.parent)
        there = part.stat()
        with self._lock:
            known = self.files.get(file.path)
            if os.path.lexists(target) and (known is None or not known.is_unchanged(target)):
                _log.warning("%s came meanwhile, and is left as it is", target)
                part.unlink()
                return
            # An older version goes first: after a kill between record and rename it would count as the user's.
            target.unlink(missing_ok=True)
            self.done = ""
            self.files[file.path] = FetchedFile(file.id, there.st_size, there.st_mtime_ns, file.md5)
            self.write()
        part.replace(target)
        sync_folder(target.parent)

    def write(self) -> None:
        """Write the record."""
        rows = {path: asdict(file) for path, file in sorted(self.files.items())}
        content = {"version": RECORD_VERSION, "session_id": self.session_id, "done": self.done, "files": rows}
        write_text(self.session / RECORD, json.dumps(content, indent=1) + "\n")

    def n_bytes(self) -> int:
        """Return the size of the fetched files that are here, bytes."""
        return sum(file.size for path, file in self.files.items() if file.is_unchanged(self.session / path))

    def evict(self, outputs: Container[Path] = (), request: str = "") -> int:
        """Remove the fetched files that nobody changed, and return their size, bytes.

        Parameters
        ----------
        outputs : container of Path
            Results of tasks, which stay, fetched or not.
        request : str
            Fingerprint of the request that succeeded: the same one need not fetch them again.
        """
        n_bytes = 0
        self.done = request
        self.write()
        for name, file in self.files.items():
            path = self.session / name
            if path in outputs or not file.is_unchanged(path) or path.is_symlink():
                continue
            path.unlink()
            n_bytes += file.size
            for folder in path.parents:
                if folder == self.session or not folder.is_relative_to(self.session) or any(folder.iterdir()):
                    break
                folder.rmdir()
        _log.info("%s: %d bytes of fetched files were removed", self.session, n_bytes)
        return n_bytes
