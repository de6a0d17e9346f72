"""Checks of a camera: the modules that define them, and their execution."""

from __future__ import annotations

from collections.abc import Collection

from ibl_dask.errors import UsageError
from ibl_dask.model.outcome import CheckResult
from ibl_dask.qc import camera, picture, timing, wheel
from ibl_dask.qc.evidence import CameraEvidence
from ibl_dask.qc.registry import registered_checks, run_check

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
    return tuple(run_check(name, checks[name], evidence) for name in names)
