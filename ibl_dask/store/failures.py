"""Conversion of exceptions to failures."""

from __future__ import annotations

import traceback

from ibl_dask.errors import Category, IblDaskError
from ibl_dask.model.failure import Failure
from ibl_dask.store.disk import explain_os_error


def failure_from(error: Exception) -> Failure:
    """Return an exception as a value; an unexpected one keeps its traceback.

    An `OSError` that the operating system raises for a full or unreadable disk is replaced by the error of this package
    that explains it.
    """
    notes = tuple(str(note) for note in getattr(error, "__notes__", ()))
    if isinstance(error, OSError):
        error = explain_os_error(error) or error
    kind = type(error).__name__
    if isinstance(error, IblDaskError):
        what = error.what.rstrip(".") + "."
        return Failure(kind, error.category, what, error.where, error.expected, error.got, error.do, notes)
    category = _category(error)
    trace = "".join(traceback.format_exception(error))
    return Failure(kind, category, f"{kind}: {error}", traceback=trace)


def _category(error: Exception) -> Category:
    """Return the category of an error that is not of this package."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, ModuleNotFoundError):
        return "environment"
    if isinstance(error, ConnectionError):
        return "network"
    if isinstance(error, FileNotFoundError):
        return "missing_input"
    return "disk" if isinstance(error, OSError) else "bug"
