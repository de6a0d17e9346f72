"""Packages of the extra `alyx`, which a plain installation does not have."""

from __future__ import annotations

from importlib.util import find_spec

from ibl_dask.errors import MissingEnvironment


def require_packages(*names: str) -> None:
    """Require that packages are installed, without importing them.

    Raises
    ------
    MissingEnvironment
        If one is missing.
    """
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise MissingEnvironment(
            "packages for Alyx are not installed",
            expected="the packages of the extra `alyx`",
            got=f"no {' and no '.join(missing)}",
            do="pip install 'ibl_dask[alyx]'",
        )
