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
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

OF_DATABASE = ("update", "upload", "upload_plots")
"""Arguments of `_run` by which tasks leave out the parts that write to the database."""
HIDDEN = "[token]"
"""Text that stands for the token of the database; it has characters that no token has."""
GRACE_S = 5
"""Between the request to end and the end, s."""


def main() -> None:
    """Read a request, write an answer."""
    if "IBL_DASK_LIFELINE" in os.environ:
        threading.Thread(target=_end_with_caller, daemon=True).start()
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        request = json.load(file)
    answer: dict[str, object] = {"status": -1, "outputs": None, "log": "", "version": "", "error": None}
    token = ""
    try:
        token = taken_token(request.get("database"))
        if token:  # before any import: handlers of logs keep the stream that is there when they are made
            sys.stdout, sys.stderr = MaskedStream(sys.stdout, token), MaskedStream(sys.stderr, token)
        answer.update(run(request, token))
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  # it is the answer
        answer["error"] = plain_error(error)
    with open(sys.argv[2] + ".part", "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(Mask([token])(json.dumps(answer), True))
    os.replace(sys.argv[2] + ".part", sys.argv[2])  # noqa: PTH105
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, MaskedStream):
            stream.end()


def run(request: dict[str, Any], token: str = "") -> dict[str, object]:  # JSON
    """Run a task and return the outcome."""
    module, name = request["executable"].rsplit(".", 1)
    session = Path(request["session"])
    one = connected(request["database"], session, token) if request.get("database") else None
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
    if one is not None and outputs is not None and hasattr(task, "register_images"):
        task.register_images()  # figures that it drew: the field's runner has them sent with its files
    inputs, missing_inputs = looked_up(task, "input_files")
    answer = {
        "status": status,
        "outputs": outputs,
        "log": task.log,
        "version": str(getattr(task, "version", "")),
        "error": plain_error(errors[-1]) if errors and status == -1 else None,
        "inputs": inputs,
        "missing_inputs": missing_inputs,
        "has_database": one is not None,
    }
    if status == 0 and outputs is not None:
        answer["missing_outputs"] = looked_up(task, "output_files")[1]
    return answer


def taken_token(database: dict[str, Any] | None) -> str:
    """Return the token, and take it from the variables, which other programs that the task starts would get.

    Raises
    ------
    RuntimeError
        If there is a database and no token.
    """
    text, file = os.environ.pop("IBL_DASK_ALYX_TOKEN", ""), os.environ.pop("IBL_DASK_ALYX_TOKEN_FILE", "")
    if database is None:
        return ""
    file = database["token_file"] or file
    if file:
        text = Path(file).read_text(encoding="utf-8")
    if not text.strip():
        raise RuntimeError("no token of the database: neither a file nor a variable of the worker has it")
    return text.strip()


def connected(database: dict[str, Any], session: Path, token: str) -> Any:  # an object of ONE
    """Return a ONE that is logged in; None if this environment has no ONE, for a task that can do without."""
    try:
        from one.api import OneAlyx
    except ModuleNotFoundError as error:
        if database["is_needed"] or (error.name or "").split(".")[0] != "one":
            raise
        logging.getLogger("ibllib").warning("the database is left out: ONE is not installed in this environment")
        return None
    logging.getLogger("one").setLevel(logging.INFO)  # at DEBUG it logs the token with every request
    is_of_lab = len(session.parts) >= 6 and session.parts[-4] == "Subjects"
    home = Path(os.environ["HOME"])
    one = OneAlyx(
        base_url=database["url"],
        cache_dir=session.parents[4 if is_of_lab else 2],
        tables_dir=home / "tables",
        silent=True,
        cache_rest=None,
    )
    log_in(one.alyx, database["user"], token)
    return one


def log_in(client: Any, user: str, token: str) -> None:
    """Log a client of ONE in with a token, which is kept in memory alone."""
    if "token" in inspect.signature(client.authenticate).parameters:
        client.authenticate(username=user, token=token, cache_token=False)
        return
    # Before ONE 3.6 there was no other way but through a password, or a file with the token.
    client.user, client._token = user, {"token": token}
    client._headers = {**client._headers, "Authorization": f"Token {token}"}


class Mask:
    """Replacement of secrets in a text that comes in pieces of any size.

    The end of a piece that may be the start of a secret is held back until the next piece, or the last one.

    Parameters
    ----------
    secrets : sequence of str
        The secrets; empty ones count for nothing.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        self._rest = ""

    def __call__(self, text: str, is_last: bool = False) -> str:
        """Return the text, and what was held back before it, with every secret replaced."""
        text = self._rest + text
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        starts = (n for secret in self._secrets for n in range(len(secret) - 1, 0, -1) if text.endswith(secret[:n]))
        n_kept = 0 if is_last else max(starts, default=0)
        self._rest = text[len(text) - n_kept :]
        return text[: len(text) - n_kept]


class MaskedStream:
    """A stream of text in which a secret is replaced.

    Parameters
    ----------
    stream : text stream
        Where the text goes.
    secret : str
        The secret.
    """

    def __init__(self, stream: Any, secret: str) -> None:  # whatever stands for a standard stream
        self._stream, self._mask, self._lock = stream, Mask([secret]), threading.RLock()

    def write(self, text: str) -> int:
        """Write a text."""
        with self._lock:
            self._stream.write(self._mask(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write some texts."""
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Write what was held back."""
        with self._lock:
            self._stream.write(self._mask("", True))
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # all else that a stream has
        return getattr(self._stream, name)


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
