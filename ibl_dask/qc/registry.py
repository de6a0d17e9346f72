"""Registry of checks.

A check is a function of `CameraEvidence`. It returns a `CheckResult`, or the reason as text where its data are
missing::

    @check
    def check_colour(evidence: CameraEvidence) -> CheckResult | str: ...

The part of its name after `check_` is the name under which its outcome is published. `ibl_dask.qc.checks` lists the
modules of checks and runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.store.containment import contained

_Evidence = TypeVar("_Evidence")

Check = Callable[[CameraEvidence], CheckResult | str]

_CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Register a check."""
    _CHECKS[name_of(function)] = function
    return function


def name_of(function: Check) -> str:
    """Return the name under which a check publishes its outcome."""
    name: str = function.__name__
    return name.removeprefix("check_")


def registered_checks() -> Mapping[str, Check]:
    """Return the registered checks by name."""
    return MappingProxyType(_CHECKS)


def run_check(name: str, function: Callable[[_Evidence], CheckResult | str], evidence: _Evidence) -> CheckResult:
    """Run one check: NOT_SET with the reason where its data are missing, CRITICAL where it raises."""
    try:
        # The check itself judges values that are NaN or too large.
        with contained(f"the check {name}"), np.errstate(all="ignore"):
            result = function(evidence)
    except Exception as error:  # noqa: BLE001  # one check, perhaps of a lab's own, must not take the others with it
        return CheckResult(name, Outcome.CRITICAL, message=f"the check itself failed: {type(error).__name__}: {error}")
    return CheckResult(name, Outcome.NOT_SET, message=result) if isinstance(result, str) else result
