"""Packages whose classes rows of Alyx may run: a row must not become a way to import anything else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.metadata import entry_points

from ibl_dask.errors import UsageError
from ibl_dask.tasks.catalogue import FIELD_PACKAGES
from ibl_dask.tasks.registry import ENTRY_POINTS

VARIABLE = "IBL_DASK_TASK_PACKAGES"
"""Variable that names further packages, separated by commas."""
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


def allowed_packages(more: Iterable[str] = ()) -> frozenset[str]:
    """Return the packages whose classes may run.

    They are this package's tasks, the field's packages, packages with an entry point of the group `ibl_dask.tasks`,
    and those that the site names.

    Parameters
    ----------
    more : iterable of str
        Packages, or modules, that the site names beside those of `$IBL_DASK_TASK_PACKAGES`.
    """
    installed = (point.value.partition(":")[0] for point in entry_points(group=ENTRY_POINTS))
    named = os.environ.get(VARIABLE, "").split(",")
    found = ("ibl_dask.tasks", *FIELD_PACKAGES, *installed, *named, *more)
    return frozenset(text.strip() for text in found if text.strip())


def require_allowed(executable: str, packages: Iterable[str]) -> None:
    """Raise unless a class may run.

    Parameters
    ----------
    executable : str
        Dotted path of the class.
    packages : iterable of str
        See `allowed_packages`.

    Raises
    ------
    UsageError
        If it is no dotted path, or of a package that is not allowed.
    """
    packages = sorted(packages)
    if not _DOTTED.fullmatch(executable):
        raise UsageError(
            "the class of a task is no dotted path",
            expected="package.module.Class",
            got=f"{executable!r:.200}",
            do="mend the row in Alyx",
        )
    if not any(executable.startswith(f"{package}.") for package in packages):
        raise UsageError(
            f"tasks of the package {executable.partition('.')[0]} are not run here",
            where=executable,
            expected="a class of " + ", ".join(packages),
            do=f"if it belongs to the lab, name the package in ${VARIABLE} or with --package",
        )
