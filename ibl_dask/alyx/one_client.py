"""ONE's client with the transport of this package, for code of the field that wants one.

`one.webclient.AlyxClient` has no time-outs and tries neither errors of the server nor broken connections again; it
writes tokens into `~/.one`, where many processes that start at once damage its files; and on an invalid token it logs
out everyone who shares the home folder. Here it reads and writes nothing in the home folder, and caches no answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import requests
from one.webclient import AlyxClient

from ibl_dask.alyx.client import Alyx, Files, status_of
from ibl_dask.alyx.register_calls import Quiet
from ibl_dask.errors import AlyxLoginFailed, AlyxRefused


class OneClient(AlyxClient):  # type: ignore[misc]  # ONE has no types
    """An `AlyxClient` whose requests go through `Alyx`.

    Parameters
    ----------
    alyx : Alyx
        The client.
    cache_dir : Path
        Folder of the sessions, which ONE's functions ask for.
    quiet : Quiet
        Wait before a registration of files is repeated whose answer did not come.
    """

    def __init__(self, alyx: Alyx, cache_dir: Path, quiet: Quiet = Quiet()) -> None:  # noqa: B008  # it is frozen
        # Not that of ONE: it would make ~/.one, and ask for values that are missing there.
        self._alyx = alyx
        self._folder, self._quiet = cache_dir, quiet
        self.silent = True
        self.base_url = alyx.access.url
        self.user = alyx.user
        self.cache_mode = None
        self.default_expiry = timedelta(0)
        self.rest_cache_dir = cache_dir / ".rest"
        self._headers: dict[str, str] = {}
        self._rest_schemes = None
        self._obj_id = id(self)
        self._attempt_counter = 0
        self._logged_notices: set[str] = set()

    def __repr__(self) -> str:
        return f"OneClient({self.base_url!r}, user={self.user!r})"

    @property
    def is_logged_in(self) -> bool:
        """Return True: the token is that of `Alyx`."""
        return True

    @property
    def cache_dir(self) -> Path:
        """Return the folder of the sessions."""
        return self._folder

    def authenticate(self, *_: object, **__: object) -> NoReturn:
        """Refuse another login: the user is that of `Alyx`."""
        raise AlyxLoginFailed(
            "another login is not possible with this client",
            where=self.base_url,
            expected="the user it was made for",
            got="a call of authenticate",
            do="make another client for another user",
        )

    def logout(self) -> None:
        """Do nothing: there is no cached token to remove."""

    def _generic_request(
        self,
        reqfunction: Callable[..., object],
        rest_query: str,
        data: Any = None,
        files: Mapping[str, Any] | None = None,
        **others: object,
    ) -> Any:
        """Send a request of ONE; a refusal becomes the error that ONE's functions expect."""
        method = getattr(reqfunction, "__name__", "get").upper()
        path, _, query = rest_query.removeprefix(self.base_url).partition("?")
        path = path if path.startswith("/") else f"/{path}"
        headers = {"Accept": "application/vnd.oai.openapi+json"} if path == "/api/schema" else None
        body: Any = json.loads(data) if isinstance(data, str) else data

        def wait() -> None:
            time.sleep(self._quiet.base_s + self._quiet.per_file_s * len(body.get("filenames") or ()))

        try:
            return self._alyx.request(
                method,
                f"{path}?{query}" if query else path,
                body=body,
                files=_in_memory(files),
                headers=headers,
                # Not again while the first is at work: two calls at once make two records of a file, and Alyx fails on
                # it from then on.
                on_lost=wait if path == "/register-file" else None,
            )
        except AlyxRefused as error:
            response = requests.Response()
            response.status_code = status_of(error)
            response._content = json.dumps(error.body).encode()
            raise requests.HTTPError(response.status_code, path, str(error), response=response) from error


def _in_memory(files: Mapping[str, Any] | None) -> Files | None:
    """Return files with their content, so that another try sends all of it."""
    if not files:
        return None
    found = {}
    for name, value in files.items():
        given = value if isinstance(value, tuple) else (Path(getattr(value, "name", name)).name, value)
        content = given[1].read() if hasattr(given[1], "read") else given[1]
        found[name] = (str(given[0]), content, given[2] if len(given) > 2 else "application/octet-stream")
    return found
