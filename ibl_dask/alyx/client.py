"""Client of Alyx: every request has a time-out, a pace below the limit, and tries that know a passing failure.

The transport is `requests`, with one connection per thread that is kept. ONE's own client is made upon it where code of
the field wants one (`ibl_dask.alyx.one_client`): it has no time-outs, and tries neither errors of the server nor broken
connections again.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ibl_dask.alyx.answers import Answer, judge, retry_after_s
from ibl_dask.alyx.connection import Connection, Files
from ibl_dask.alyx.credentials import Access, Token
from ibl_dask.alyx.pacing import PER_MINUTE, Backoff, TokenBucket
from ibl_dask.alyx.refusals import content_of, is_answered, is_duplicate, no_answer, refusal, status_of
from ibl_dask.errors import AlyxBusy, AlyxLoginFailed, AlyxRefused, AlyxUnreachable
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.web_address import require_address

__all__ = ["Alyx", "Files", "Limits", "fetch_token", "is_answered", "is_duplicate", "row_key", "status_of"]

_log = logging.getLogger(__name__)

PAGE = 1000
"""Rows per page: the most that Alyx sends. The order of rows is not total, so few pages miss few rows."""
_MOST_ROUNDS = 20
"""Most queries for a complete list of several pages."""
_OF_PROXIES = (408, 502, 504)
"""Statuses of servers before Alyx that lost patience with it."""
_NOTICES = ("Alyx-API-Notice", "Deprecation", "Sunset")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a client."""

    per_minute: float = PER_MINUTE
    """Requests per minute."""
    burst: float | None = None
    """Most requests after a quiet time; those of 4 s by default."""
    connect_s: float = 5.0
    """Time for a connection, s."""
    read_s: float = 60.0
    """Time without a byte of the answer, s."""
    read_files_s: float = 300.0
    """The same for the registration of files: 40-65 ms per file, and up to 3 s for 10 writers at once."""
    patience_s: float = 300.0
    """Longest time that one call waits between its tries, and for a turn that the server put off, s."""
    backoff: Backoff = field(default_factory=Backoff)
    """Pauses between tries."""


class Alyx:
    """Alyx, for one process and any number of its threads.

    Parameters
    ----------
    access : Access
        Address, user and token.
    limits : Limits, optional
        Pace, time-outs and pauses.
    clock, sleep, chance : callable, optional
        Monotonic time, s; a pause, s; a random number in [0, 1).
    """

    def __init__(
        self,
        access: Access,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.access = access
        self.limits = limits or Limits()
        self.n_requests = 0
        """Requests so far, other tries included."""
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._turns = TokenBucket(self.limits.per_minute, clock, self.limits.burst)
        self._notices: set[str] = set()
        self._connection = Connection(access.token)
        self._lock = threading.Lock()
        if not access.is_private:
            _log.warning("the token of %s goes to %s without encryption", access.user, access.url)

    def __repr__(self) -> str:
        return f"Alyx({self.access.url!r}, user={self.access.user!r})"

    @property
    def user(self) -> str:
        """Return the name of the user."""
        return self.access.user

    @property
    def parked_s(self) -> float:
        """Return the seconds until the server takes requests again; 0 while it does."""
        return self._turns.parked_s

    # -- rows ---------------------------------------------------------------------------------------------------

    def read(self, endpoint: str, key: str) -> Any:
        """Return one row by its key: `read("sessions", eid)`."""
        return self.request("GET", f"/{endpoint}/{_quoted(key)}")

    def rows(self, endpoint: str, **filters: str | int) -> list[JsonObject]:
        """Return all rows of a list, each once.

        A list of several pages is read again until a pass over it shows no row that is new, and as many were seen as
        there are: Alyx orders rows that tie at will, so that one pass may show some twice and others never, and rows
        that come and go meanwhile make numbers agree by chance.

        Parameters
        ----------
        endpoint : str
            Such as `tasks`.
        **filters
            Such as `session=eid`, `status="Waiting"`. No `django=` filter with text from outside: Alyx evaluates it.

        Raises
        ------
        AlyxUnreachable
            If rows came and went faster than they could be listed.
        """
        seen: dict[str, JsonObject] = {}
        n_rows = 0
        for _ in range(_MOST_ROUNDS):
            n_before, n_pages, offset = len(seen), 0, 0
            while True:
                page = self.request("GET", f"/{endpoint}", query={**filters, "limit": PAGE, "offset": offset})
                if isinstance(page, list):  # some lists have no pages
                    return page
                rows, n_rows = page["results"], int(page["count"])
                seen.update((row_key(row), row) for row in rows)
                offset += len(rows)
                n_pages += 1
                if not rows or not page.get("next"):
                    break
            if n_pages == 1 or (len(seen) == n_before and len(seen) >= n_rows):
                return list(seen.values())
        raise AlyxUnreachable(
            "a list of Alyx changes faster than it can be read",
            where=f"{self.access.url}/{endpoint}",
            expected=f"{n_rows} rows",
            got=f"{len(seen)} of them in {_MOST_ROUNDS} passes",
            do="ask for fewer rows, those of one session or one lab, or try again later",
        )

    def create(
        self,
        endpoint: str,
        body: Mapping[str, object],
        *,
        files: Files | None = None,
        find: Callable[[], JsonObject | None] | None = None,
    ) -> Any:
        """Create a row and return it.

        Parameters
        ----------
        endpoint : str
            Such as `tasks`.
        body : mapping
            Its fields; with `files` they are sent as a form.
        files : mapping, optional
            Files.
        find : callable, optional
            Returns the row if it exists. Called before another try, since the first may have been carried out although
            its answer was lost; needed wherever Alyx would make a second row (sessions, notes).
        """
        return self.request("POST", f"/{endpoint}", body=body, files=files, find=find)

    def change(self, endpoint: str, key: str, body: Mapping[str, object]) -> Any:
        """Change fields of a row and return it; a field is replaced as a whole."""
        return self.request("PATCH", f"/{endpoint}/{_quoted(key)}", body=body)

    def delete(self, endpoint: str, key: str) -> None:
        """Delete a row; one that is gone counts as deleted."""
        try:
            self.request("DELETE", f"/{endpoint}/{_quoted(key)}")
        except AlyxRefused as error:
            if status_of(error) != 404:
                raise

    # -- errors -------------------------------------------------------------------------------------------------

    def is_of_one(self, error: Exception) -> bool:
        """Return whether an error is that of the row or session it was met with, while the server works otherwise.

        Alyx answers with 500 for broken rows and for mistakes as well, again and again, and a list that takes too long
        never comes. So the whole server counts as failing only if it does not answer a plain request either.

        Parameters
        ----------
        error : Exception
            Error of a request.
        """
        if isinstance(error, AlyxUnreachable):
            return not isinstance(error, AlyxBusy) and self._is_working()
        return isinstance(error, AlyxRefused) and not isinstance(error, AlyxLoginFailed)

    def _is_working(self) -> bool:
        """Return whether the server answers now, in one try, and is an Alyx: a proxy may have a page of its own."""
        if self.parked_s > 0:
            return False
        self._turns.take()
        answer, _ = self._send("GET", f"/users/{_quoted(self.user)}", None, None, None, None, None)
        return answer is not None and judge(answer) in ("done", "refused") and isinstance(answer.body, dict)

    # -- requests -----------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: object = None,
        files: Files | None = None,
        find: Callable[[], JsonObject | None] | None = None,
        headers: Mapping[str, str] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> Any:
        """Send a request until it is answered for good, and return the body of the answer.

        Parameters
        ----------
        method : str
            GET, POST, PATCH or DELETE.
        path : str
            Path below the address, with a slash first.
        query, body, files, headers
            Parts of the request; a body without files is sent as JSON.
        find : callable, optional
            See `create`.
        on_lost : callable, optional
            Called where the request was sent and no answer of Alyx came: it may be at work with it still. What it
            raises keeps the request from being sent again.

        Raises
        ------
        AlyxUnreachable
            If no sensible answer came after several tries.
        AlyxBusy
            If the server asked to wait for longer than `Limits.patience_s`.
        AlyxLoginFailed
            If the token is not accepted.
        AlyxRefused
            If the request is refused for good; `status_of` returns the status.
        """
        content = None if body is None or files else _to_json(body, f"{method} {path}")
        form = _to_form(body) if files and isinstance(body, Mapping) else None
        until_s = self._clock() + self.limits.patience_s
        n_tries, n_500 = 0, 0
        while True:
            self._wait_for_turn(until_s, path)
            n_tries += 1
            answer, reason = self._send(method, path, query, content, form, files, headers)
            verdict = "again" if answer is None else judge(answer)
            if answer is not None:
                self._show_notices(answer, path)
                if verdict == "done":
                    return content_of(answer, self.access.url + path)
                if verdict in ("login", "refused"):
                    raise refusal(answer, f"{method} {self.access.url}{path}", is_login=verdict == "login")
                reason = f"status {answer.status}: {answer.detail}"
                if verdict == "later":
                    self._turns.park(retry_after_s(answer) or 1.0)
                    n_tries -= 1
                    continue
                n_500 += answer.status == 500
            if on_lost is not None and (answer is None or answer.status in _OF_PROXIES):
                on_lost()
            backoff = self.limits.backoff
            pause_s = backoff.pause_s(n_tries, self._chance())
            if n_tries >= backoff.most_tries or n_500 >= backoff.most_tries_500 or self._clock() + pause_s > until_s:
                raise no_answer(f"{method} {self.access.url}{path}", reason, n_tries)
            _log.info("%s %s: %s; try %d in %.1f s", method, path, reason, n_tries + 1, pause_s)
            self._sleep(pause_s)
            if find is not None and (found := find()) is not None:
                return found

    def _wait_for_turn(self, until_s: float, path: str) -> None:
        wait_s = self._turns.take()
        while wait_s > 0:
            if self._clock() + wait_s > until_s:
                self._turns.give_back()
                raise AlyxBusy(
                    "Alyx asked to wait",
                    where=self.access.url + path,
                    expected=f"a turn within {self.limits.patience_s:g} s",
                    got=f"{wait_s:.0f} s",
                    do="results stay in the spool, and are sent later: ibl-dask alyx sync",
                )
            self._sleep(wait_s)
            wait_s = self._turns.parked_s  # another thread may have been asked to wait meanwhile

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        content: bytes | None,
        form: dict[str, str] | None,
        files: Files | None,
        headers: Mapping[str, str] | None,
    ) -> tuple[Answer | None, str]:
        """Send a request once; return the answer, or None and the reason."""
        with self._lock:
            self.n_requests += 1
        read_s = self.limits.read_files_s if path.startswith("/register-file") else self.limits.read_s
        time_out = (self.limits.connect_s, read_s)
        return self._connection.send(method, self.access.url + path, query, content, form, files, headers, time_out)

    def _show_notices(self, answer: Answer, path: str) -> None:
        """Log each notice of the server once."""
        for name in _NOTICES:
            if text := answer.headers.get(name, ""):
                place = "" if name == "Alyx-API-Notice" else f" of {path.split('?')[0].split('/')[1]}"
                notice = f"{name}{place}: {' '.join(text.removeprefix('!!!').split())}"
                with self._lock:
                    is_new = notice not in self._notices
                    self._notices.add(notice)
                if is_new:
                    _log.warning("notice of %s: %s", self.access.url, notice)


def fetch_token(url: str, user: str, password: str, limits: Limits | None = None) -> Token:
    """Log in with a password and return the token; once per run, not once per worker: it costs the server 0.3 s.

    Raises
    ------
    AlyxLoginFailed
        If user or password are wrong.
    AlyxUnreachable
        If there is no answer.
    """
    limits = limits or Limits()
    where = f"{require_address(url, 'an Alyx', 'give user and password apart from it')}/auth-token"
    form = {"username": user, "password": password}
    answer, reason = Connection(None).send("POST", where, form=form, time_out=(limits.connect_s, limits.read_s))
    if answer is None:
        raise no_answer(f"POST {where}", reason, 1)
    if judge(answer) in ("again", "later"):
        raise no_answer(f"POST {where}", f"status {answer.status}: {answer.detail}", 1)
    if not isinstance(answer.body, dict) or not isinstance(answer.body.get("token"), str):
        raise refusal(answer, f"POST {where}", is_login=True)
    return Token(answer.body["token"])


def row_key(row: JsonObject) -> str:
    """Return the key of a row: its `id`, else the end of its `url`, else its name."""
    return str(row.get("id") or str(row.get("url") or "").rpartition("/")[2] or row.get("name") or row)


def _quoted(key: str) -> str:
    """Return a key as one part of a path, whatever characters it holds."""
    return quote(str(key), safe="") if key not in (".", "..") else "%2E" * len(key)


def _to_json(body: object, where: str) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise AlyxRefused(
            "this cannot be sent to Alyx",
            where=where,
            expected="values of JSON, without NaN and infinities",
            got=str(error),
            do="report it: this is an error of the program that made the request",
        ) from error


def _to_form(body: Mapping[str, object]) -> dict[str, str]:
    """Return fields of a form; those that are no text are written as JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, allow_nan=False) for name, value in body.items()
    }
