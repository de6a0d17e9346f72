"""Refusals of Alyx as errors: their status and reason, and the next step of whoever meets them."""

from __future__ import annotations

from typing import Any

from ibl_dask.alyx.answers import Answer
from ibl_dask.errors import AlyxLoginFailed, AlyxRefused, AlyxUnreachable


def status_of(error: AlyxRefused | AlyxUnreachable) -> int:
    """Return the status of a refusal, or of an answer that makes no sense; 0 where there was none.

    >>> status_of(AlyxRefused("no", got="status 404: No Task matches the given query."))
    404
    """
    number = error.got.removeprefix("status ").partition(":")[0]
    return int(number) if number.isdecimal() else 0


def is_answered(error: AlyxUnreachable) -> bool:
    """Return whether the server answered, with an error of its own: the connection works."""
    return error.got.startswith("status ")


def is_duplicate(error: AlyxRefused) -> bool:
    """Return whether a row was refused because it exists: a task of that name, session and arguments.

    Where two requests come at once, the database refuses the second, and Alyx answers 500.
    """
    return (status_of(error) == 400 and "must make a unique set" in error.got) or is_collision(error)


def is_collision(error: AlyxRefused) -> bool:
    """Return whether the database refused a row, since another request made the same one at that moment."""
    return status_of(error) == 500 and "unique constraint" in error.got


def refusal(answer: Answer, where: str, *, is_login: bool) -> AlyxRefused:
    """Return the error of an answer that refuses a request.

    Parameters
    ----------
    answer : Answer
        The answer.
    where : str
        Method and address of the request.
    is_login : bool
        The token or password is the reason.
    """
    error = _explained(answer, where, is_login=is_login)
    error.body = answer.body
    return error


def _explained(answer: Answer, where: str, *, is_login: bool) -> AlyxRefused:
    got = f"status {answer.status}: {answer.detail}"
    if is_login:
        return AlyxLoginFailed(
            "Alyx does not accept this user's token or password, or they do not allow this",
            where=where,
            expected="a token of a user who may write",
            got=got,
            do="ask for a token on the page /me of Alyx, or an administrator for the right",
        )
    if 300 <= answer.status < 400:
        return AlyxRefused(
            "the address of Alyx leads elsewhere",
            where=where,
            expected="the address itself",
            got=f"status {answer.status}: to {answer.headers.get('Location', 'an unnamed place')}",
            do="give the address that it leads to, with https",
        )
    do = "correct the fields that it names; the same request would be refused again"
    if "list index out of range" in got:
        do = "an administrator has to remove the task without a status from the database: no list that holds it works"
    elif "returned more than one Dataset" in got:
        do = "delete one of the two records of this file in Alyx (/admin/data/dataset), then send again"
    return AlyxRefused("Alyx refused a request", where=where, expected="an answer of success", got=got, do=do)


def no_answer(where: str, reason: str, n_tries: int) -> AlyxUnreachable:
    """Return the error of a request that got no answer, or none that makes sense, in a number of tries."""
    return AlyxUnreachable(
        "Alyx gives no answer",
        where=where,
        expected="an answer",
        got=f"{reason}, in {n_tries} tries" if n_tries > 1 else reason,
        do="check the address and the network, or wait: results stay in the spool, and are sent by ibl-dask alyx sync",
    )


def content_of(answer: Answer, where: str) -> Any:
    """Return the body of an answer of success.

    Raises
    ------
    AlyxUnreachable
        If it is no JSON.
    """
    body = answer.body
    if body is None and answer.text and answer.status != 204:
        raise AlyxUnreachable(
            "the answer is no JSON",
            where=where,
            expected="JSON",
            got=answer.detail,
            do="check the address of Alyx: a page of a proxy or a web site answers there",
        )
    return body
