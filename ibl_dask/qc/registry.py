"""Checks by name.

A check is a function of `CameraEvidence` that returns a `CheckResult`, or the reason as text where what it
needs is not there::

    @check
    def check_colour(evidence): ...

The part of its name after `check_` is the name under which its outcome is published.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.store.containment import contained

Check = Callable[[CameraEvidence], CheckResult | str]

_CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Register a check."""
    _CHECKS[name_of(function)] = function
    return function


def name_of(function: Check) -> str:
    """Return the name under which a check publishes."""
    name: str = function.__name__
    return name.removeprefix("check_")


def run_checks(
    evidence: CameraEvidence, select: tuple[str, ...] | None = None, without: Collection[str] = ()
) -> tuple[CheckResult, ...]:
    """Run every check (or the selected ones, or all but some) in alphabetical order.

    A check that lacks what it needs is NOT_SET, and says so.

    Raises
    ------
    UsageError
        If a selected check is not there.
    """
    # Each registers its checks.
    import ibl_dask.qc.camera
    import ibl_dask.qc.picture
    import ibl_dask.qc.timing
    import ibl_dask.qc.wheel  # noqa: F401

    unknown = sorted(set(select or ()) - _CHECKS.keys())
    if unknown:
        raise UsageError("no such check", expected="some of " + ", ".join(sorted(_CHECKS)), got=", ".join(unknown))
    return tuple(_run(name, evidence) for name in sorted(set(_CHECKS if select is None else select) - set(without)))


def _run(name: str, evidence: CameraEvidence) -> CheckResult:
    try:
        # What is no number, or too large for one, is for the check to judge.
        with contained(f"the check {name}"), np.errstate(all="ignore"):
            result = _CHECKS[name](evidence)
    except Exception as error:  # noqa: BLE001  # one check, perhaps of a lab's own, must not take the others with it
        return CheckResult(name, Outcome.CRITICAL, message=f"the check itself failed: {type(error).__name__}: {error}")
    return CheckResult(name, Outcome.NOT_SET, message=result) if isinstance(result, str) else result
