"""What the other environment runs: build one task, run it, and say how it went.

A program of its own that needs nothing but the standard library and what the task needs: `python this request answer`.
It ends itself and all that it started when the pipe of `$IBL_DASK_LIFELINE` is closed, which the death of who started
it does.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

OF_DATABASE = ("update", "upload", "upload_plots")
"""What tasks call the parts of their run that write to the database, where these can be left out."""
GRACE_S = 5
"""Between the request to end and the end, s."""


def main() -> None:
    """Read a request, write an answer."""
    if "IBL_DASK_LIFELINE" in os.environ:
        threading.Thread(target=_end_with_caller, daemon=True).start()
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        request = json.load(file)
    answer: dict[str, object] = {"status": -1, "outputs": None, "log": "", "version": "", "error": None}
    try:
        answer.update(run(request))
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  # it is the answer
        answer["error"] = plain_error(error)
    with open(sys.argv[2] + ".part", "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(answer, file)
    os.replace(sys.argv[2] + ".part", sys.argv[2])  # noqa: PTH105


def run(request: dict[str, Any]) -> dict[str, object]:  # JSON
    """Run a task and say how it went."""
    module, name = request["executable"].rsplit(".", 1)
    found = getattr(importlib.import_module(module), name)
    task = found(Path(request["session"]), one=None, location="local", **request["arguments"])
    for attribute, value in request["settings"].items():
        setattr(task, attribute, Path(value) if attribute in ("dlcenv", "scripts") else value)
    given = {**without_database(task), **request["given"]}
    errors: list[Exception] = []
    for method in ("setUp", "_run"):
        note_errors(task, method, errors)
    status = task.run(**given)
    outputs = None if task.outputs is None else [str(path) for path in listed(task.outputs)]
    inputs, missing_inputs = looked_up(task, "input_files")
    answer = {
        "status": status,
        "outputs": outputs,
        "log": task.log,
        "version": str(getattr(task, "version", "")),
        "error": plain_error(errors[-1]) if errors and status == -1 else None,
        "inputs": inputs,
        "missing_inputs": missing_inputs,
    }
    if status == 0 and outputs is not None:
        answer["missing_outputs"] = looked_up(task, "output_files")[1]
    return answer


def without_database(task: Any) -> dict[str, bool]:  # a class of another package
    """Keep a task from the database, and return what its run is told for that.

    There is none. Some tasks find out only when their files are made, and fail; what they have for the database is left
    out instead, and stays in the session for those who have one.
    """
    if hasattr(task, "register_snapshots"):
        task.register_snapshots = leave_snapshots
    return dict.fromkeys((name for name in OF_DATABASE if name in inspect.signature(task._run).parameters), False)


def leave_snapshots(*_: object, **__: object) -> None:
    """Register no snapshots."""
    logging.getLogger("ibllib").info("snapshots are not registered: there is no database")


def note_errors(task: object, method: str, errors: list[Exception]) -> None:
    """Keep what a method raises: the task itself writes it to its log and nowhere else."""
    original = getattr(task, method)

    def noting(*args: object, **kwargs: object) -> object:
        try:
            return original(*args, **kwargs)
        except Exception as error:
            errors.append(error)
            raise

    setattr(task, method, noting)


def looked_up(task: Any, which: str) -> tuple[list[str], list[str]]:
    """Return the patterns of a signature, and those that are required and have no file with content."""
    patterns: list[str] = []
    missing: list[str] = []
    for dataset in getattr(task, which, None) or []:
        if isinstance(dataset, tuple):
            continue
        pattern = dataset.glob_pattern
        patterns += [pattern] if isinstance(pattern, str) else list(pattern)
        ok, files, lacking = dataset.find_files(task.session_path)
        if not ok and lacking is not None:
            missing += [lacking] if isinstance(lacking, str) else sorted(lacking)
        elif which == "output_files" and dataset.operator is None and "Optional" not in type(dataset).__name__:
            missing += [str(path) + " (empty)" for path in files if os.path.getsize(path) == 0]  # noqa: PTH202
    return patterns, missing


def listed(made: object) -> Iterable[object]:
    """Return what is one thing or several as several."""
    return made if isinstance(made, (list, tuple)) else [made]


def plain_error(error: BaseException) -> dict[str, object]:
    """Return an error as plain values."""
    kinds = [cls.__name__ for cls in type(error).__mro__]
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"kind": kinds[0], "kinds": kinds, "message": str(error), "traceback": text}


def _end_with_caller() -> None:
    os.read(int(os.environ["IBL_DASK_LIFELINE"]), 1)
    os.killpg(os.getpgid(0), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    main()
