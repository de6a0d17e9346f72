"""Claims: the owner of a started row, written into its log, since Alyx has no place for one."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Container
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from secrets import token_hex

from ibl_dask.alyx.task_row import TaskRow
from ibl_dask.model.status import Status
from ibl_dask.store.processes import Process, state_of, this_process

_MARK = "ibl_dask claim "
_LINE = re.compile(rf"^{_MARK}(\{{.*\}})$", re.MULTILINE)
FARTHEST_BEHIND_S = -12 * 3600.0
"""Time zone farthest behind UTC, s: that of a server of which no time is known yet, so that no lease ends early."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Owner of a started row."""

    host: str
    """Host of the coordinator."""
    process: str
    """Identity of its process, see `ibl_dask.store.processes.Process.mark`."""
    job: str
    """Number of the batch job that it runs in; empty outside of one."""
    place: str
    """Identifier of the lock that it holds: two coordinators with one lock never run at once."""
    token: str = field(default_factory=lambda: token_hex(8))
    """Digits of this coordinator alone."""
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """Start of the coordinator, UTC."""

    @classmethod
    def of_this_process(cls, place: str, job: str = "") -> Claim:
        """Return the claim of a coordinator in this process."""
        here = this_process()
        return cls(here.host, here.mark, job, place)

    def to_log(self, before: str = "") -> str:
        """Return the log of a row that is claimed: the log that it had, and the claim in a line of its own."""
        line = _MARK + json.dumps(asdict(self), sort_keys=True)
        return f"{before.rstrip()}\n{line}" if before.strip() else line


def read_claim(log: str) -> Claim | None:
    """Return the last claim in a log; None where there is none."""
    found = _LINE.findall(log)
    try:
        content = json.loads(found[-1]) if found else None
        return None if content is None else Claim(**{name: str(value) for name, value in content.items()})
    except (TypeError, ValueError):
        return None


def without_claim(log: str) -> str:
    """Return a log without claims."""
    return _LINE.sub("", log).strip()


def is_orphan(
    row: TaskRow,
    mine: Claim,
    kept: Container[str] = (),
    *,
    lease_s: float | None = None,
    now_s: float | None = None,
    ahead_s: float = FARTHEST_BEHIND_S,
) -> bool:
    """Return whether a started row has no owner any more.

    The caller holds the lock of its place, so that no earlier coordinator of that place lives. Elsewhere, a row is
    abandoned if the process of its claim can be seen from here to have ended. Other rows that are claimed elsewhere, or
    by the reference's runner, which leaves no claim, are abandoned once their lease ended.

    Parameters
    ----------
    row : TaskRow
        The row.
    mine : Claim
        The caller's claim.
    kept : container of str
        Identifiers of rows that run now, or whose results wait to be sent; as known before the row was read, since a
        result may be sent in between.
    lease_s : float, optional
        Time after the last change of a row with an owner elsewhere, s, beyond its own time-out; by default such rows
        are left alone.
    now_s : float, optional
        Unix time.
    ahead_s : float
        See `clock_ahead_s`.
    """
    if row.status is not Status.STARTED or row.id in kept:
        return False
    claim = read_claim(row.log)
    if claim is not None and (claim.place == mine.place or _has_ended(claim)):
        return True
    changed_s = None if lease_s is None else _unix_time(row.datetime, ahead_s)
    if lease_s is None or changed_s is None:
        return False
    return (time.time() if now_s is None else now_s) - changed_s > row.time_out_secs + lease_s


def _has_ended(claim: Claim) -> bool:
    owner = Process.from_mark(claim.process)
    return owner is not None and state_of(owner) == "gone"


def clock_ahead_s(text: str, now_s: float) -> float | None:
    """Return by how much the clock of Alyx is ahead of UTC, s, from a time that it has just written; None for no time.

    Its times have no offset, and are in the zone of its settings: UTC, or that of its lab. Where clocks are changed for
    the summer, times before that are an hour off.
    """
    written_s = _unix_time(text)
    return None if written_s is None else written_s - now_s


def _unix_time(text: str, ahead_s: float = 0.0) -> float | None:
    """Return the Unix time of a time of Alyx; one without an offset is of a clock that is ahead of UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo else found.replace(tzinfo=UTC).timestamp() - ahead_s
