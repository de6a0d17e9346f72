"""Progress of a run as it is told while it goes on: sessions of all, failures, and an estimate of the end."""

from __future__ import annotations

from dataclasses import dataclass

from ibl_dask.model import events
from ibl_dask.report.lines import count

FIRST_ESTIMATE_S = 20.0
"""Time before which the end is not estimated, s."""
_LEAST_SHARE = 0.01
_LAST_STEPS = 0.9
"""Largest share of a session in flight: steps are planned one after another, and some are not known yet."""
_MOST_SAMPLES = 200


@dataclass(slots=True)
class _Steps:
    planned: int = 0
    ended: int = 0

    @property
    def share(self) -> float:
        return min(_LAST_STEPS, self.ended / self.planned) if self.planned else 0.0


class RunPace:
    """Counts of a run, from its events.

    Parameters
    ----------
    now_s : float
        Time of a monotonic clock at the start, s; so are all other times.
    """

    def __init__(self, now_s: float) -> None:
        self.n_sessions = 0
        """Sessions of the run."""
        self.n_done = 0
        """Sessions that succeeded."""
        self.n_failed = 0
        """Sessions that failed."""
        self.n_steps = 0
        """Steps that ended."""
        self.n_retried = 0
        """Attempts that failed and were made again."""
        self._active: dict[str, _Steps] = {}
        self._active_share = 0.0
        self._start_s = now_s
        self._samples: list[tuple[float, float]] = [(now_s, 0.0)]
        self._sample_every_s = 1.0

    @property
    def n_active(self) -> int:
        """Return the number of sessions that are under way."""
        return len(self._active)

    @property
    def share(self) -> float:
        """Return the share of the run that is done, from 0 to 1, by sessions and by the steps of those under way."""
        ended = self.n_done + self.n_failed + max(0.0, self._active_share)
        return min(1.0, ended / self.n_sessions) if self.n_sessions else 0.0

    def take(self, event: events.Event) -> None:
        """Count an event."""
        if isinstance(event, events.RunStarted):
            self.n_sessions = len(event.sessions) + event.n_to_come
        elif isinstance(event, events.SessionPlanned):
            self._change(event.session, planned=sum(event.steps.values()))
        elif isinstance(event, events.StepFinished):
            self.n_steps += 1
            self._change(event.session, ended=1)
        elif isinstance(event, events.StepRetried):
            self.n_retried += 1
        elif isinstance(event, events.SessionFinished):
            self._active_share -= self._active.pop(event.session, _Steps()).share
            self.n_done += event.is_success
            self.n_failed += not event.is_success
        self.n_sessions = max(self.n_sessions, self.n_done + self.n_failed + self.n_active)

    def _change(self, session: str, planned: int = 0, ended: int = 0) -> None:
        steps = self._active.setdefault(session, _Steps())
        before = steps.share
        steps.planned += planned
        steps.ended += ended
        self._active_share += steps.share - before

    def left_s(self, now_s: float) -> float | None:
        """Return the estimated time until the end, s, by the pace of the last half of the run; None if it is too early.

        What was found finished at the start of a run goes by faster than the rest, and counts less and less.
        """
        share = self.share
        if now_s - self._samples[-1][0] >= self._sample_every_s:
            self._samples.append((now_s, share))
        if len(self._samples) > _MOST_SAMPLES:
            del self._samples[1::2]
            self._sample_every_s *= 2
        if now_s - self._start_s < FIRST_ESTIMATE_S or share < _LEAST_SHARE:
            return None
        half_s = (self._start_s + now_s) / 2
        then_s, before = max((sample for sample in self._samples if sample[0] <= half_s), default=self._samples[0])
        if share <= before:
            return None
        return (1 - share) * (now_s - then_s) / (share - before)

    def text(self, now_s: float) -> str:
        """Return what matters most as one line: sessions that ended and failed, and the time left."""
        parts = [f"{self.n_done + self.n_failed:,} of {count(self.n_sessions, 'session')} ended"]
        if self.n_failed:
            parts.append(f"{self.n_failed:,} failed")
        left_s = self.left_s(now_s)
        if left_s is not None:
            parts.append(f"about {format_duration(left_s)} left")
        return ", ".join(parts)

    @property
    def details(self) -> str:
        """Return the other counts as one line."""
        parts = [f"{self.n_active:,} under way", count(self.n_steps, "step")]
        if self.n_retried:
            parts.append(f"{self.n_retried:,} tried again")
        return ", ".join(parts)


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> format_duration(42), format_duration(3725), format_duration(200000)
    ('42 s', '1 h 2 min', '2 d 8 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
