"""Program of the other environment: builds one task, runs it, and writes the outcome.

It needs the standard library and the packages of the task only: `python this request answer`.
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
"""Arguments of `_run` by which tasks leave out the parts that write to the database."""
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
    """Run a task and return the outcome."""
    module, name = request["executable"].rsplit(".", 1)
    session = Path(request["session"])
    one = connected(request["database"], session) if request.get("database") else None
    found = getattr(importlib.import_module(module), name)
    task = found(session, one=one, location="local", **request["arguments"])
    for attribute, value in request["settings"].items():
        setattr(task, attribute, Path(value) if attribute in ("dlcenv", "scripts") else value)
    given = {**(without_database(task) if one is None else {}), **request["given"]}
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


def connected(database: dict[str, str], session: Path) -> Any:  # an object of ONE
    """Return a ONE that is logged in with the token, which is written nowhere and passed on to no other program."""
    from one.api import OneAlyx

    text = os.environ.pop("IBL_DASK_ALYX_TOKEN", "")
    file = database["token_file"] or os.environ.pop("IBL_DASK_ALYX_TOKEN_FILE", "")
    if file:
        text = Path(file).read_text(encoding="utf-8")
    if not text.strip():
        raise RuntimeError("no token of the database: neither a file nor a variable of the worker has it")
    is_of_lab = len(session.parts) >= 6 and session.parts[-4] == "Subjects"
    home = Path(os.environ["HOME"])
    one = OneAlyx(
        base_url=database["url"],
        cache_dir=session.parents[4 if is_of_lab else 2],
        tables_dir=home / "tables",
        silent=True,
        cache_rest=None,
    )
    one.alyx.authenticate(username=database["user"], token=text.strip(), cache_token=False)
    return one


def without_database(task: Any) -> dict[str, bool]:  # a class of another package
    """Keep a task from the database, and return the arguments of its run for that.

    There is none. Some tasks fail for that once their files are made; these parts are left out, and the files stay in
    the session for a later registration.
    """
    if hasattr(task, "register_snapshots"):
        task.register_snapshots = leave_snapshots
    return dict.fromkeys((name for name in OF_DATABASE if name in inspect.signature(task._run).parameters), False)


def leave_snapshots(*_: object, **__: object) -> None:
    """Register no snapshots."""
    logging.getLogger("ibllib").info("snapshots are not registered: there is no database")


def note_errors(task: object, method: str, errors: list[Exception]) -> None:
    """Collect the errors of a method: the task itself writes them to its log alone.

    Parameters
    ----------
    task
        The task.
    method
        Name of the method.
    errors
        List to which its errors are added.
    """
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
    """Return one output or several as a sequence."""
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
