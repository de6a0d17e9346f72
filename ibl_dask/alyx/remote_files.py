"""Files of a session that Alyx lists: their places in the session, sizes, hashes and addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ibl_dask.alyx.client import row_key
from ibl_dask.errors import OutsideSession
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.places import complaint, normal_form
from ibl_dask.model.session import OWN_FOLDER
from ibl_dask.model.shell_names import require_plain

_MD5 = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A dataset of a session, as Alyx lists it."""

    id: str
    """Identifier of the dataset."""
    path: str
    """Path below the session, in its normal form unless it leads out; see `require_inside_session`."""
    size: int | None = None
    """Size, bytes; None where Alyx has none."""
    md5: str | None = None
    """MD5 of the content, hexadecimal; None where Alyx has none."""
    urls: tuple[str, ...] = ()
    """Addresses from which it can be downloaded; empty where no server has it."""

    def require_inside_session(self) -> None:
        """Require that its path stays inside the session, and outside the folder of this package.

        Raises
        ------
        OutsideSession
            If not.
        UnsafeName
            If it holds characters that a shell interprets.
        """
        path = require_plain(self.path, "the path of a dataset", where=f"dataset {self.id}")
        if path.split("/")[0] == OWN_FOLDER:
            raise OutsideSession(
                f"the path of a dataset does not stay inside its session: {OWN_FOLDER} belongs to this program",
                where=f"dataset {self.id}",
                expected="a collection and a name below the session",
                got=repr(self.path),
                do="correct the name or the collection of the dataset in Alyx",
            )


def read_files(rows: Iterable[JsonObject]) -> list[RemoteFile]:
    """Return the files of a session from its rows of the endpoint `datasets`, each path once.

    Of several datasets at one path one that a server has is taken, and the latest of these. Datasets that are not the
    default are older revisions, and left out.

    Parameters
    ----------
    rows : iterable of mapping
        Rows of one session.
    """
    found: dict[str, tuple[bool, str, RemoteFile]] = {}
    for row in rows:
        if row.get("default_dataset") is False:
            continue
        file = _file_of(row)
        entry = (bool(file.urls), str(row.get("auto_datetime") or ""), file)
        if file.path not in found or entry[:2] > found[file.path][:2]:
            found[file.path] = entry
    return [file for _, _, file in found.values()]


def _file_of(row: JsonObject) -> RemoteFile:
    revision = str(row.get("revision") or "").strip("#")
    parts = (str(row.get("collection") or ""), f"#{revision}#" if revision else "", str(row.get("name") or ""))
    path = "/".join(part for part in parts if part)
    size, md5 = row.get("file_size"), row.get("hash")
    return RemoteFile(
        row_key(row),
        path if complaint(path) else normal_form(path),
        size if isinstance(size, int) and size >= 0 else None,
        md5.lower() if isinstance(md5, str) and _MD5.fullmatch(md5) else None,
        tuple(_urls(row)),
    )


def _urls(row: JsonObject) -> Iterable[str]:
    """Yield the addresses of the copies that exist, as ONE takes them (`one.webclient.file_record_to_url`)."""
    for record in row.get("file_records") or ():
        url = record.get("data_url") if isinstance(record, Mapping) and record.get("exists") else None
        if isinstance(url, str) and url.startswith(("http://", "https://")):
            yield url
