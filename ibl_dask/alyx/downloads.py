"""Downloads of single files: with time-outs, resumed where they broke, and compared with size and hash of Alyx.

The addresses are those that ONE downloads from. Its own functions (`one.webclient.http_download_file`,
`OneAlyx._download_datasets`) have no time-outs, write under the final name, take an answer that ends early for a whole
file, and only note a wrong hash in the database, so the transport is that of this package.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, urlsplit

from ibl_dask.alyx.data_login import DataLogin
from ibl_dask.alyx.pacing import Backoff
from ibl_dask.alyx.packages import require_packages
from ibl_dask.alyx.remote_files import RemoteFile
from ibl_dask.errors import ConnectionBroke, DownloadFailed, IblDaskError
from ibl_dask.model.sizes import format_size
from ibl_dask.store.disk import explain_os_error

if TYPE_CHECKING:
    import requests

_log = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 16
"""Bytes that are taken at once; the rest of a block is lost where a connection breaks."""
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses after which the same request may succeed."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Stopped(Exception):
    """The run was ended in the middle of a download; its part stays."""


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """Time-outs and tries of downloads."""

    connect_s: float = 10.0
    """Time for a connection, s."""
    read_s: float = 60.0
    """Time without a byte, s."""
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, 60.0, 6))
    """Pauses between tries; those that brought something on do not count."""
    most_bytes: int = 200 * 10**9
    """Size that a file may have whose size Alyx does not list, bytes."""


class _TryAgain(Exception):
    """A failure that may pass; its text is the reason."""


class _NotHere(Exception):
    """An address does not have the file; its text is the reason."""


class _Differs(Exception):
    """The content is another one than Alyx lists; its text is the reason."""


class _TooLong(Exception):
    """An answer has more bytes than the file may have."""


class Downloads:
    """Downloads files. For many threads.

    Parameters
    ----------
    login : DataLogin
        Login of the server of files.
    limits : DownloadLimits, optional
        Time-outs and tries.
    is_stopped : callable
        Returns True once downloads are to end.
    sleep : callable
        A pause, s.
    """

    def __init__(
        self,
        login: DataLogin,
        limits: DownloadLimits | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        require_packages("requests")
        self._login, self._limits = login, limits or DownloadLimits()
        self._is_stopped, self._sleep = is_stopped, sleep

    def bring(self, file: RemoteFile, part: Path) -> None:
        """Download a file into a part of it, which is whole and on disk when this returns.

        Parameters
        ----------
        file : RemoteFile
            The file.
        part : Path
            File that receives it; what an earlier download left in it is kept.

        Raises
        ------
        DownloadFailed
            If no server has it, or only with another content.
        ConnectionBroke
            If it could not be downloaded in several tries.
        NotWritable
            If the disk is full.
        Stopped
            If the run was ended.
        """
        reasons: list[str] = []
        for url in file.urls:
            try:
                self._bring_from(url, file, part)
            except _NotHere as error:
                reasons.append(f"{error} from {_host(url)}")
            else:
                return
        raise DownloadFailed(
            "a file that Alyx lists cannot be downloaded",
            where=file.path,
            expected="a server that has it" if file.urls else "a file record that exists, with an address",
            got="; ".join(reasons) or "none",
            do="check the file record of the dataset in Alyx, and the access to the server (docs/jobs.md)",
        )

    def _bring_from(self, url: str, file: RemoteFile, part: Path) -> None:
        n_tries, n_wrong = 0, 0
        while True:
            if self._is_stopped():
                raise Stopped
            before = _size(part)
            try:
                self._continue(url, file, part)
                _require_content(file, part)
            except _TryAgain as error:
                n_tries = 1 if _size(part) > before else n_tries + 1
                reason = str(error)
            except _Differs as error:
                part.unlink(missing_ok=True)
                n_tries, n_wrong, reason = n_tries + 1, n_wrong + 1, str(error)
                if n_wrong > 1:
                    raise _wrong_content(file, url, reason) from None
            except OSError as error:
                raise explain_os_error(error, part, file.size or 0) or error from error
            else:
                return
            if n_tries >= self._limits.backoff.most_tries:
                raise ConnectionBroke(
                    "a file could not be downloaded",
                    where=f"{file.path}, from {_host(url)}",
                    expected=format_size(file.size) if file.size is not None else "the whole file",
                    got=f"{reason}, in {n_tries} tries",
                    do="run again: the part that came is kept; check the network if it happens again",
                )
            pause_s = self._limits.backoff.pause_s(n_tries, random.random())  # no secret
            _log.info("%s: %s; try %d in %.1f s", file.path, reason, n_tries + 1, pause_s)
            self._sleep(pause_s)

    def _continue(self, url: str, file: RemoteFile, part: Path) -> None:
        """Download what a part lacks."""
        import requests

        start = _size(part)
        if file.size is not None and start == file.size and start:
            return
        if file.size is not None and start > file.size:
            part.unlink()
            start = 0
        # Some servers send compressed what they can; the bytes of a range would be those of the compressed file.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        time_out = (self._limits.connect_s, self._limits.read_s)
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                self._session() as session,
                session.get(
                    _quoted(url), headers=headers, auth=self._auth(url), stream=True, timeout=time_out
                ) as answer,
            ):
                self._take(answer, start, file, part)
        except requests.RequestException as error:
            text = "no byte in time" if isinstance(error, requests.Timeout) else "the connection failed or broke"
            raise _TryAgain(text) from None

    def _session(self) -> requests.Session:
        """Return a session in which a redirect is signed anew: the password stays with its server."""
        import requests

        def sign_anew(request: requests.PreparedRequest, _: requests.Response) -> None:
            request.headers.pop("Authorization", None)
            self._auth(request.url or "")(request)

        session = requests.Session()
        # The one of `requests` would take a line of ~/.netrc.
        session.rebuild_auth = sign_anew  # type: ignore[method-assign, assignment]
        return session

    def _auth(self, url: str) -> Callable[[Any], Any]:  # requests of `requests`
        """Return what signs a request: as a function, since a line of ~/.netrc would be taken otherwise."""
        from requests.auth import HTTPBasicAuth

        login = self._login.for_url(url)
        return (lambda request: request) if login is None else HTTPBasicAuth(*login)

    def _take(self, answer: requests.Response, start: int, file: RemoteFile, part: Path) -> None:
        status = answer.status_code
        if status in _PASSING:
            raise _TryAgain(f"status {status}")
        if status == 416:  # the part is longer than the file, or just as long
            part.unlink(missing_ok=True)
            raise _TryAgain("the server refused to continue the part that was there")
        if status not in (200, 206):
            raise _NotHere(f"status {status}")
        if answer.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
            raise _NotHere("an encoded answer, which was not asked for,")
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", "")) if status == 206 else None
        if status == 206 and (found is None or int(found[1]) != start):
            part.unlink(missing_ok=True)
            raise _TryAgain("the server sent another part than the one asked for")
        begin = start if status == 206 else 0
        length = answer.headers.get("Content-Length")
        with part.open("r+b" if begin else "wb") as out:
            out.seek(begin)
            out.truncate()
            try:
                self._copy(answer, out, (self._limits.most_bytes if file.size is None else file.size) - begin)
            except _TooLong as error:
                part.unlink(missing_ok=True)
                if file.size is None:
                    raise _NotHere(f"a file over {format_size(self._limits.most_bytes)}, of no size in Alyx,") from None
                raise _Differs(f"more than {file.size} bytes") from error
            finally:
                out.flush()
                os.fsync(out.fileno())
        n_bytes = _size(part) - begin
        if length is not None and length.isdecimal() and n_bytes < int(length):
            raise _TryAgain(f"the answer ended after {n_bytes} of {length} bytes")

    def _copy(self, answer: requests.Response, out: BinaryIO, most_bytes: int) -> None:
        """Write an answer of a limited size.

        Raises
        ------
        _TooLong
            If it has more bytes, of which none is written.
        """
        for block in answer.iter_content(_BLOCK_BYTES):
            if self._is_stopped():
                raise Stopped
            most_bytes -= len(block)
            if most_bytes < 0:
                raise _TooLong
            out.write(block)


def _require_content(file: RemoteFile, part: Path) -> None:
    n_bytes = _size(part)
    if file.size is not None and n_bytes != file.size:
        raise _Differs(f"{n_bytes} bytes instead of {file.size}")
    if file.md5 is not None:
        with part.open("rb") as content:
            found = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != file.md5:
            raise _Differs(f"MD5 {found} instead of {file.md5}")


def _wrong_content(file: RemoteFile, url: str, reason: str) -> IblDaskError:
    return DownloadFailed(
        "a downloaded file is another one than Alyx lists",
        where=f"{file.path}, from {_host(url)}",
        expected="the size and the MD5 of the dataset in Alyx",
        got=f"{reason}, twice",
        do="tell those who look after the database: the server and the dataset disagree",
    )


def _quoted(url: str) -> str:
    """Return an address with the characters of file names quoted, `#` of revisions among them, as ONE does."""
    parts = urlsplit(url, allow_fragments=False)
    return parts._replace(path=quote(parts.path)).geturl()


def _host(url: str) -> str:
    return urlsplit(url, allow_fragments=False).hostname or url


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
