"""Import of `dask_jobqueue` without its side effects on the process and the user's home."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ibl_dask.errors import UsageError

_IMPORT = threading.Lock()


def import_jobqueue() -> ModuleType:
    """Import `dask_jobqueue`; see `_without_side_effects`.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    with _IMPORT:
        if "dask_jobqueue" in sys.modules:
            return sys.modules["dask_jobqueue"]
        import distributed  # noqa: F401  # its own imports keep their side effects

        try:
            with _without_side_effects():
                return importlib.import_module("dask_jobqueue")
        except ModuleNotFoundError as error:
            raise UsageError(
                "workers on a batch system need dask-jobqueue",
                expected="dask-jobqueue 0.9 or later in this environment",
                got=str(error),
                do="pip install 'dask-jobqueue>=0.9'",
            ) from error


@contextlib.contextmanager
def _without_side_effects() -> Iterator[None]:
    """Keep an import in this thread from writing to the user's home and from replacing the handler of Ctrl-C.

    `dask_jobqueue` copies its settings to `~/.config/dask/jobqueue.yaml`, where they would take effect from then on,
    and installs a handler of SIGINT, which fails outside the main thread.
    """
    import dask

    here = threading.get_ident()
    set_handler, ensure_file = signal.signal, dask.config.ensure_file

    def elsewhere(number: int, handler: Any) -> Any:  # as `signal.signal`
        return signal.getsignal(number) if threading.get_ident() == here else set_handler(number, handler)

    replacement: Any = elsewhere  # its types are not quite those of `signal.signal`
    signal.signal = replacement
    dask.config.ensure_file = lambda *args, **kwargs: None
    try:
        yield
    finally:
        signal.signal, dask.config.ensure_file = set_handler, ensure_file
