"""Judgement of answers of Alyx: by status and by text, since it answers mistakes of its callers with 500 as well."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

Verdict = Literal["done", "again", "later", "refused", "login"]
"""done; again: worth another try; later: not before a time that the server names; refused: would be refused again;
login: the token is missing, wrong or not enough."""

_FOR_GOOD = re.compile(
    r"No dataset type found|Multiple matching dataset types|matching query does not exist|returned more than one"
    r"|Cannot resolve keyword|Invalid|violates (?:not-null|unique) constraint|argument is required"
    r"|list index out of range"
)
"""Texts of a 500 that is the answer to a mistake in the request, or to a damaged record: it comes again."""
_LOGIN = ("Authentication credentials were not provided", "Invalid token", "You do not have permission", "inactive")
_LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer to one request."""

    status: int
    """HTTP status."""
    text: str = ""
    """Body as text."""
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Headers; names are compared without case where `requests` provides them."""

    @property
    def body(self) -> Any:
        """Return the body as JSON; None where there is none."""
        try:
            return json.loads(self.text) if self.text else None
        except ValueError:
            return None

    @property
    def detail(self) -> str:
        """Return the reason that the server gives, in one line."""
        return detail_of(self.body, self.text)


def detail_of(body: object, text: str = "") -> str:
    """Return the reason in a body: its `detail`, `error` and `details`, or the fields that it complains about.

    >>> detail_of({"status": ["Invalid status"], "status_code": 400})
    'status: Invalid status'
    """
    if isinstance(body, Mapping):
        rows = {name: value for name, value in body.items() if name != "status_code"}
        if isinstance(rows.get("detail"), str) and len(rows) == 1:
            return _short(rows["detail"])
        named = (
            f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
            for name, value in rows.items()
        )
        return _short("; ".join(named))
    return _short(re.sub(r"<[^>]*>", " ", text) if text.lstrip().startswith("<") else text)


def _short(text: str) -> str:
    plain = " ".join(str(text).split()).rstrip(".")
    return plain if len(plain) <= _LONGEST_DETAIL else plain[: _LONGEST_DETAIL - 3] + "..."


def judge(answer: Answer) -> Verdict:
    """Judge an answer.

    A 500 is tried again unless its text is that of a mistake in the request.
    """
    status, detail = answer.status, answer.detail
    if 200 <= status < 300:
        return "done"
    if status == 429 or (status == 503 and answer.headers.get("Retry-After")):
        return "later"
    if status == 401 or (status == 403 and any(text in detail for text in _LOGIN)):
        return "login"
    if status in (408, 425, 502, 503, 504):
        return "again"
    if status >= 500:
        return "refused" if _FOR_GOOD.search(detail) else "again"
    return "refused"


def retry_after_s(answer: Answer, now: datetime | None = None) -> float:
    """Return the seconds that the server asks to wait, from `Retry-After` (a number or a date); 0 for none."""
    text = answer.headers.get("Retry-After", "")
    if not text:
        return 0.0
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        due = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, (due - (now or datetime.now(UTC))).total_seconds())
