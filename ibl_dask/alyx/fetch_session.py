"""Fetching of one session: its description, then what the tasks that are to run read."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.downloads import Downloads
from ibl_dask.alyx.fetched import PARTS, FetchRecord
from ibl_dask.alyx.folders import folder_of, session_row
from ibl_dask.alyx.remote_files import RemoteFile, read_files
from ibl_dask.alyx.wanted_files import Reader, Wanted, choose, to_plan_from
from ibl_dask.deploy.batch_systems.registry import ask_job, own_job
from ibl_dask.errors import DiskFull, DownloadFailed, OutsideSession
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.places import is_inside
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.model.shell_names import require_plain
from ibl_dask.model.signature import read_signature
from ibl_dask.model.sizes import format_size
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.store.atomic import make_folder
from ibl_dask.store.free_space import measure_spaces
from ibl_dask.store.lock import LOCK_NAME, holding
from ibl_dask.tasks.external.task import ForeignTask
from ibl_dask.tasks.task import Task

_log = logging.getLogger(__name__)

N_THREADS = 4
"""Files of a session that come at once, as in ONE (`one.webclient.N_THREADS`)."""
UNKNOWN_BYTES = 10**9
"""Share of the disk that is reserved for a file whose size Alyx does not have, bytes."""
SPARE_BYTES = 1 << 30
"""Room on the disk that is left free, bytes."""


@dataclass(frozen=True, slots=True)
class FetchPlace:
    """Where sessions are fetched to, and what is fetched of them."""

    folder: Path
    """Folder of the labs; a session goes to `lab/Subjects/subject/date/number` below it."""
    request: Mapping[str, Any]
    """Arguments of `make_pipeline`: tasks, options, ..."""


class SessionFetcher:
    """Fetches sessions.

    Parameters
    ----------
    alyx : Alyx
        The database.
    downloads : Downloads
        Downloads files.
    place : FetchPlace
        Where to, and what.
    reserve : callable
        Called with the size of what is about to come of a session, bytes; returns once there is room for it.
    """

    def __init__(
        self, alyx: Alyx, downloads: Downloads, place: FetchPlace, reserve: Callable[[int], None] = lambda _: None
    ) -> None:
        self._alyx, self._downloads, self._place, self._reserve = alyx, downloads, place, reserve

    def folder(self, eid: str) -> tuple[Path, JsonObject]:
        """Return the folder that a session has or gets, and its row.

        Raises
        ------
        NotASession
            If Alyx does not have it.
        OutsideSession, UnsafeName
            If its row leads elsewhere.
        """
        row = session_row(self._alyx, eid)
        found = folder_of(row, self._place.folder)
        if found.is_dir():
            return found, row
        lab = require_plain(row.get("lab"), "the lab of a session", is_name=True)
        return self._place.folder / lab / "Subjects" / found.relative_to(self._place.folder), row

    def fetch(self, eid: str, path: Path) -> FetchRecord:
        """Fetch what is missing of a session into its folder; what is there is kept.

        Parameters
        ----------
        eid : str
            Identifier of the session.
        path : Path
            See `folder`.

        Raises
        ------
        DownloadFailed, ConnectionBroke
            If a file cannot be had.
        OutsideSession, UnsafeName
            If a dataset leads out of the session.
        DiskFull
            If there is no room for it.
        SessionLocked
            If another program holds it.
        """
        record = FetchRecord.read(path) or FetchRecord.begin(path, eid)
        make_folder(path / OWN_FOLDER)
        with holding(path / OWN_FOLDER / LOCK_NAME, ask_job, own_job()):
            record = FetchRecord.read(path) or record  # another program may have fetched files before it let go
            files = read_files(self._alyx.rows("datasets", session=eid))
            if not any(file.urls for file in files):
                raise DownloadFailed(
                    "no server has files of this session",
                    where=eid,
                    expected="datasets with a file record that exists, and an address",
                    got=f"{len(files)} datasets, none with one" if files else "no datasets",
                    do="check the file records of the session in Alyx: what a lab has not sent is there alone",
                )
            self._bring(record, [file for file in to_plan_from(files) if file.urls])
            pipeline = make_pipeline(path, **self._place.request)
            readers = [reader_of(name, task) for name, task in pipeline.tasks.items() if _can_run(task)]
            self._bring(record, _available(choose(files, readers)))
            with suppress(OSError):
                (path / PARTS).rmdir()
        return record

    def _bring(self, record: FetchRecord, files: Sequence[RemoteFile]) -> None:
        """Bring the files among some that are not here."""
        for file in files:
            file.require_inside_session()
            _require_real(record.session, file)
        missing = [file for file in files if not record.has(file)]
        if not missing:
            return
        n_bytes = sum(file.size or 0 for file in missing)
        self._reserve(n_bytes + UNKNOWN_BYTES * sum(file.size is None for file in missing))
        _require_room(record.session, n_bytes)
        _log.info("%s: %d files, %s", record.session, len(missing), format_size(n_bytes))

        def bring(file: RemoteFile) -> None:
            part = record.part_of(file)
            self._downloads.bring(file, part)
            record.accept(file, part)

        _side_by_side(bring, missing)


def _side_by_side(bring: Callable[[RemoteFile], None], files: Sequence[RemoteFile]) -> None:
    """Call a function for some files, a few at a time; after an error no further one is begun, and it is raised.

    In threads that a server which is silent cannot keep the program alive with, as those of an executor would be.
    """
    left, errors = deque(files), deque[BaseException]()

    def work() -> None:
        while not errors:
            try:
                file = left.popleft()
            except IndexError:
                return
            try:
                bring(file)
            except BaseException as error:  # noqa: BLE001  # it is raised by the caller
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(N_THREADS, len(files)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def reader_of(name: str, task: Task) -> Reader:
    """Return the files that a task reads and makes.

    The signature of a task of another environment is not known here: it reads the folders that its arguments name.
    """
    signature = read_signature(task.signature)
    folders: tuple[str, ...] = ()
    if isinstance(task, ForeignTask):
        named = (value for key, value in task.arguments().items() if key.endswith("collection"))
        lists = ([value] if isinstance(value, str) else value for value in named)
        folders = tuple(text for texts in lists if isinstance(texts, list | tuple) for text in texts)
    return Reader(name, signature.inputs, signature.outputs, folders)


def _can_run(task: Task) -> bool:
    return task.unmet_requirement() is None


def _available(wanted: Sequence[Wanted]) -> list[RemoteFile]:
    """Return the files among those wanted that a server has.

    Raises
    ------
    DownloadFailed
        If one that a task requires is listed, and no server has it.
    """
    for each in wanted:
        if each.is_required and not each.file.urls:
            raise DownloadFailed(
                f"no server has a file that {each.task} needs",
                where=each.file.path,
                expected="a file record that exists, with an address",
                got="none",
                do="check the file records of the dataset in Alyx, or leave that task out with --tasks",
            )
    return [each.file for each in wanted if each.file.urls]


def _require_real(session: Path, file: RemoteFile) -> None:
    """Require that no link in the session leads a file out of it."""
    if not is_inside(Path(os.path.realpath((session / file.path).parent)), (Path(os.path.realpath(session)),)):
        raise OutsideSession(
            "a link leads out of the session",
            where=str(session / file.path),
            expected="folders of the session",
            got=os.path.realpath((session / file.path).parent),
            do="remove the link, or run the session where its files are",
        )


def _require_room(folder: Path, n_bytes: int) -> None:
    space = measure_spaces([folder]).get(folder)
    if space is not None and space.available_bytes < n_bytes + min(SPARE_BYTES, n_bytes):
        raise DiskFull(
            "there is no room for the files of this session",
            where=str(folder),
            expected=f"room for {format_size(n_bytes)}",
            got=f"{format_size(space.available_bytes)} ({space.limit})",
            do="free some room, name another folder with --fetch-to, or let finished sessions go with --evict-fetched",
        )
