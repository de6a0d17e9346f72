"""Limits of a run: time-outs, pauses, failed sessions, load on disks, and what is tried again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ibl_dask.deploy.site.profile import Profile
from ibl_dask.errors import UsageError
from ibl_dask.pipeline.retries import LONGEST_PAUSE_S

RETRY = ("quarantined",)
"""Values of `retry`."""


@dataclass(frozen=True, slots=True)
class MaxFailures:
    """Number or share of failed sessions from which on no further session is begun.

    >>> MaxFailures.parse("20"), MaxFailures.parse("5%")
    (MaxFailures(number=20, share=None), MaxFailures(number=None, share=0.05))
    """

    number: int | None = None
    """Largest number of failed sessions."""
    share: float | None = None
    """Largest share of failed sessions among those that ended."""

    LEAST_ENDED = 20
    """Sessions that must have ended before a share counts."""

    @classmethod
    def parse(cls, text: str | int) -> MaxFailures:
        """Read a number (`20`) or a share (`5%`).

        Raises
        ------
        UsageError
            If the text is neither.
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?)%|(\d+)", str(text).strip())
        if found is None or (found[1] and float(found[1]) > 100):
            raise UsageError(
                "--max-failures cannot be read",
                expected="a number of sessions (20) or a share of them (5%)",
                got=str(text),
                do="mend the value",
            )
        return cls(share=float(found[1]) / 100) if found[1] else cls(number=int(found[2]))

    def is_exceeded(self, n_failed: int, n_ended: int) -> bool:
        """Return True if more sessions have failed than allowed."""
        if self.number is not None:
            return n_failed > self.number
        return self.share is not None and n_ended >= self.LEAST_ENDED and n_failed > self.share * n_ended

    def __str__(self) -> str:
        return f"{100 * self.share:g}%" if self.share is not None else str(self.number)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a run."""

    time_outs_s: Mapping[str, float] = field(default_factory=dict)
    """Name or class of a task -> time after which a step of it is ended, s. By default ten times the forecast of the
    task, and half an hour at least."""
    longest_pause_s: float = LONGEST_PAUSE_S
    """Duration for which a full or read-only disk is waited for, s; 0 fails steps at once."""
    max_failures: MaxFailures = MaxFailures()
    """Failed sessions from which on no further session is begun; none by default."""
    io_limit: float | None = None
    """Sum of `io_charge` of the tasks that may run at once on one file system, %; None for any."""
    retry: frozenset[str] = frozenset()
    """`quarantined`: tasks are tried that failed before, although nothing has changed since."""


NO_LIMITS = Limits()


def limits_of(site: Profile, retry: str | None = None, max_failures: str | None = None) -> Limits:
    """Return the limits of a site.

    Parameters
    ----------
    site : Profile
        The site.
    retry : str, optional
        What is tried again although nothing has changed, with commas between.
    max_failures : str, optional
        In place of that of the site.

    Raises
    ------
    UsageError
        If `retry` or `max_failures` makes no sense.
    """
    wanted = frozenset((retry or "").split(",")) - {""}
    unknown = sorted(wanted - {*RETRY})
    if unknown:
        raise UsageError("--retry cannot be read", expected=", ".join(RETRY), got=", ".join(unknown), do="mend it")
    most = max_failures or site.max_failures
    return Limits(
        site.time_outs_s,
        site.longest_pause_s,
        MaxFailures.parse(most) if most else MaxFailures(),
        site.io_limit,
        wanted,
    )
