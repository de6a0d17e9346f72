"""Checks of a camera: the modules that define them, and their execution."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ibl_dask.errors import UsageError
from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc import camera, picture, timing, wheel
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.registry import Check, registered_checks
from ibl_dask.store.containment import contained

MODULES = (camera, picture, timing, wheel)
"""Modules of checks; each registers its checks when it is imported."""


def run_checks(
    evidence: CameraEvidence, select: tuple[str, ...] | None = None, without: Collection[str] = ()
) -> tuple[CheckResult, ...]:
    """Run checks in alphabetical order.

    The outcome of a check is NOT_SET, with the reason, where its data are missing, and CRITICAL where it raises.

    Parameters
    ----------
    evidence : CameraEvidence
        Data of the camera.
    select : tuple of str, optional
        Names of the checks to run; all by default.
    without : collection of str
        Names of checks to leave out.

    Raises
    ------
    UsageError
        If a selected check does not exist.
    """
    checks = registered_checks()
    unknown = sorted(set(select or ()) - checks.keys())
    if unknown:
        raise UsageError("no such check", expected="some of " + ", ".join(sorted(checks)), got=", ".join(unknown))
    names = sorted(set(checks if select is None else select) - set(without))
    return tuple(_run(name, checks[name], evidence) for name in names)


def _run(name: str, function: Check, evidence: CameraEvidence) -> CheckResult:
    try:
        # The check itself judges values that are NaN or too large.
        with contained(f"the check {name}"), np.errstate(all="ignore"):
            result = function(evidence)
    except Exception as error:  # noqa: BLE001  # one check, perhaps of a lab's own, must not take the others with it
        return CheckResult(name, Outcome.CRITICAL, message=f"the check itself failed: {type(error).__name__}: {error}")
    return CheckResult(name, Outcome.NOT_SET, message=result) if isinstance(result, str) else result
