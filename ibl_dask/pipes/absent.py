"""Names of the reference that are not offered, with the way to go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NoReturn

from ibl_dask.errors import UsageError


class NotOffered(UsageError, ImportError):
    """A name of the reference is not offered here.

    It is an `ImportError`, and not an `AttributeError`, since `from module import name` would hide the reason.
    """


def absent(module: str, reasons: Mapping[str, str] | str) -> Callable[[str], NoReturn]:
    """Return the `__getattr__` of a module, which raises for every name.

    Parameters
    ----------
    module : str
        Name of the module.
    reasons : mapping or str
        Name of the reference -> its alternative; one text for all names.
    """

    def get(name: str) -> NoReturn:
        reason = reasons if isinstance(reasons, str) else reasons.get(name)
        if reason is None or name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        raise NotOffered(
            f"{name} is not offered here",
            where=module,
            expected="one of the names that the module lists in __all__",
            got=f"{name} of {module.replace('ibl_dask', 'ibllib', 1)}",
            do=reason,
        )

    return get
