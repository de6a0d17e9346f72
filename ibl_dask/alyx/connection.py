"""Connection to a server: one request, with time-outs and the token; no answer is a reason and no exception."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ibl_dask.alyx.answers import Answer
from ibl_dask.alyx.credentials import Token
from ibl_dask.alyx.packages import require_packages

if TYPE_CHECKING:
    import requests

Files = Mapping[str, tuple[str, bytes, str]]
"""Field -> (file name, content, media type). The content is in memory, so that another try sends all of it."""


class Connection:
    """Connection of a user, of which each thread keeps its own.

    Parameters
    ----------
    token : Token or None
        Token of the user; None to log in.
    """

    def __init__(self, token: Token | None) -> None:
        require_packages("requests")
        self._token = token
        self._local = threading.local()

    def send(
        self,
        method: str,
        url: str,
        query: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
        form: dict[str, str] | None = None,
        files: Files | None = None,
        headers: Mapping[str, str] | None = None,
        time_out: tuple[float, float] = (5.0, 60.0),
    ) -> tuple[Answer | None, str]:
        """Send a request once; return the answer, or None and the reason for which there is none.

        Parameters
        ----------
        method, url, query, headers
            Parts of the request.
        content : bytes, optional
            Body in JSON.
        form, files : mapping, optional
            Fields and files of a form.
        time_out : tuple of float
            Time for the connection, and time without a byte of the answer, s.
        """
        import requests

        try:
            response = self._session().request(
                method,
                url,
                params=query,
                data=content if form is None else form,
                files=files,
                headers={**({} if content is None else {"Content-Type": "application/json"}), **(headers or {})},
                timeout=time_out,
                allow_redirects=False,  # a POST would become a GET
            )
        except requests.RequestException as error:
            return None, _reason(error)
        # Alyx writes UTF-8; `response.text` would guess where no encoding is named.
        return Answer(response.status_code, response.content.decode("utf-8", "replace"), response.headers), ""

    def _session(self) -> requests.Session:
        """Return the session of this thread."""
        import requests

        found: requests.Session | None = getattr(self._local, "session", None)
        if found is None:
            found = requests.Session()
            # As `auth` and not as a header: otherwise a line of ~/.netrc would replace it.
            found.auth = _TokenHeader(self._token)
            found.headers["Accept"] = "application/json"
            self._local.session = found
        return found


class _TokenHeader:
    """Header with the token, for `requests`."""

    def __init__(self, token: Token | None) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        if self._token is not None:
            request.headers["Authorization"] = f"Token {self._token.reveal()}"
        return request


def _reason(error: Exception) -> str:
    """Return the reason for which no answer came, without the objects that `requests` puts into it."""
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate of the server is not accepted"
    if isinstance(error, requests.ConnectionError):
        return "the connection failed or broke"
    return type(error).__name__
