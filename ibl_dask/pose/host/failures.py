"""Errors of engines, from what a host answered or how it ended."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from ibl_dask.errors import (
    EngineCrashed,
    EngineFailed,
    GpuFailed,
    IblDaskError,
    MissingEnvironment,
    OutOfMemory,
    UsageError,
)

_CLASSES: Mapping[str, type[IblDaskError]] = {
    "environment": MissingEnvironment,
    "gpu": GpuFailed,
    "memory": OutOfMemory,
    "usage": UsageError,
}
_ADVICE: Mapping[str, str] = {
    "gpu": "run `ibl-dask doctor --profile FILE`, and compare the CUDA of the environment with the driver (nvidia-smi)",
    "memory": "leave the GPU to one process, or give the pool a GPU or jobs with more memory",
    "bug": "look at the traceback in the log of the task; try the engine on another video",
}


def answered_error(error: Mapping[str, str], where: str, tail: str = "") -> IblDaskError:
    """Return the error that a host answered with.

    Parameters
    ----------
    error
        Parts of the error; see `host_main.explained`.
    where : str
        The engine.
    tail : str
        End of what the host printed.
    """
    category = error.get("category", "bug")
    found = _CLASSES.get(category, EngineFailed)(
        error.get("what") or error.get("kind", "the engine failed"),
        where=where,
        expected=error.get("expected", ""),
        got=error.get("got", ""),
        do=error.get("do") or _ADVICE.get(category, ""),
    )
    if category not in ("environment", "memory", "usage") and error.get("traceback"):
        found.add_note(error["traceback"].rstrip())
    if tail and category in ("gpu", "bug"):
        found.add_note(f"The end of what the engine printed: {tail}")
    return found


def crash_error(code: int | None, where: str, tail: str) -> IblDaskError:
    """Return the error for a host that ended by itself while it worked.

    Parameters
    ----------
    code
        Exit status; negative for a signal.
    where, tail
        See `answered_error`.
    """
    if code == -signal.SIGKILL:
        do = "the system sends SIGKILL where memory is short: give the pool more memory, or take a smaller batch"
    elif code is not None and code < 0:
        do = "a library of the engine's environment crashed: try its newest version, or another GPU"
    else:
        do = "look at what it printed, in the log of the task"
    kind = OutOfMemory if code == -signal.SIGKILL else EngineCrashed
    return kind(
        "the process of the engine died while it predicted",
        where=where,
        expected="keypoints",
        got=f"{_ending(code)}{_printed(tail)}",
        do=do,
    )


def start_error(code: int | None, where: str, tail: str) -> MissingEnvironment:
    """Return the error for a host that ended before it greeted."""
    return MissingEnvironment(
        "the environment of the engine does not work",
        where=where,
        expected="Python 3.8 or later with numpy",
        got=f"{_ending(code)}{_printed(tail)}",
        do="try it by hand: PYTHON -c 'import numpy'; name another `python:` under `engines:` of the site profile",
    )


def _ending(code: int | None) -> str:
    if code is None:
        return "it closed its pipe"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _printed(tail: str) -> str:
    return f", after it printed: {tail}" if tail else ", and it printed nothing"
