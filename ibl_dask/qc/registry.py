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

from ibl_dask.model.outcome import CheckResult
from ibl_dask.qc.evidence import CameraEvidence

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
