"""Running a task of another package in its own environment."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibl_dask.errors import IblDaskError, MissingEnvironment, MissingFile, TaskFailed
from ibl_dask.store.alf import identity
from ibl_dask.store.atomic import make_folder, write_text
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.environments import Environments, clean_environment
from ibl_dask.tasks.steps import foreign_side
from ibl_dask.tasks.steps.child import run_child
from ibl_dask.tasks.steps.inputs import Facts, Records
from ibl_dask.tasks.steps.method import read_log, tail

KEPT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What another environment shall run."""

    name: str
    """Name of the task within the session."""
    executable: str
    """Dotted path of its class."""
    arguments: Mapping[str, Any]
    """Keyword arguments of the class; JSON."""
    settings: Mapping[str, Any]
    """Attributes to set on the task; JSON."""
    given: Mapping[str, Any]
    """Keyword arguments of its `run`; JSON."""
    environment: str
    """Label of the environment."""
    environments: Environments
    """Where environments are."""
    cpu: int
    """Cores that it may use."""
    timeout_s: float
    """How long it may take, s."""
    is_forced: bool
    """Whether to run although nothing changed since it was done."""


def run_foreign(*, records: Records, workspace: Workspace, request: Request) -> Facts:
    """Run a task in a process of its environment, or find that nothing changed since that was done.

    Raises
    ------
    MissingEnvironment
        If the environment is not there, or lacks what the task needs.
    MissingFile
        If an input that is required is not there, or an output afterwards.
    TaskTimedOut
        If it took too long.
    TaskFailed
        If it failed.
    """
    python, version = request.environments.serving(request.environment, request.executable)
    log = workspace.session.own / "logs" / f"{request.name}.log"
    mark = _mark(request, version)
    kept = None if request.is_forced else _read_kept(workspace, request, mark)
    if kept is not None:
        return {**kept, "kept": True}
    started_ns = time.time_ns()
    answer = _ask(python, workspace, request, log)
    facts: dict[str, Any] = {
        "outputs": answer["outputs"] or [],
        "log": str(log),
        "version": answer["version"],
        **({"empty": True} if answer["outputs"] is None else {}),
    }
    if answer["status"] == 0:
        _insist_on_outputs(workspace, request, answer, log)
        _keep(workspace, request, mark, facts, answer["inputs"], started_ns)
    elif answer["status"] == -2:
        facts["waiting"] = f"{request.name} asks to be tried again later; its log is {log}"
    elif answer["status"] == -3:
        facts["incomplete"] = f"{request.name} says that its results are incomplete; its log is {log}"
    else:
        raise _error(workspace, request, answer, log)
    return facts


def _ask(python: Path, workspace: Workspace, request: Request, log: Path) -> dict[str, Any]:
    """Run the task in a folder of its own, which is its home as well: it writes settings there."""
    make_folder(workspace.scratch)
    log.unlink(missing_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{request.name}-", dir=workspace.scratch))
    program, asked, answered = (folder / name for name in ("run_task.py", "request.json", "answer.json"))
    # Run from where it is, its neighbours there would hide packages of the same names.
    shutil.copyfile(foreign_side.__file__, program)
    content = {
        "executable": request.executable,
        "session": str(workspace.session.path),
        "arguments": dict(request.arguments),
        "settings": dict(request.settings),
        "given": dict(request.given),
    }
    asked.write_text(json.dumps(content))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(request.cpu))
    plain = {"NO_COLOR": "1"}  # what it logs is read in files and in messages
    lease = _lease(workspace)
    try:
        status = run_child(
            [str(python), str(program), str(asked), str(answered)],
            folder=folder,
            log=log,
            variables={**clean_environment(python), **threads, **plain, "HOME": str(folder), "MPLBACKEND": "Agg"},
            timeout_s=request.timeout_s,
            is_cancelled=lambda: lease is not None and _lease(workspace) != lease,
        )
        if not answered.exists():
            raise TaskFailed(
                f"{request.name} ended without an answer",
                where=request.executable,
                expected="a process that says how its task went",
                got=f"exit status {status}; the end of its log: {tail(read_log(log))}",
                do=f"read {log}; a process that was killed may have needed more memory",
            )
        answer: dict[str, Any] = json.loads(answered.read_text())
        with log.open("a") as file:
            file.write(answer["log"])
        return answer
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lease(workspace: Workspace) -> str | None:
    """Return what tells the driver that holds the session; None where none does.

    A worker cannot be told that the run is over. But the driver then lets go of the session.
    """
    try:
        return (workspace.session.own / "lock.json").read_text()
    except OSError:
        return None


def _insist_on_outputs(workspace: Workspace, request: Request, answer: Mapping[str, Any], log: Path) -> None:
    if answer.get("missing_outputs"):
        raise MissingFile(
            f"{request.name} did not leave its outputs",
            where=str(workspace.session.path),
            expected=", ".join(answer["missing_outputs"]),
            got="no such file, or an empty one",
            do=f"read {log}",
        )


def _error(workspace: Workspace, request: Request, answer: Mapping[str, Any], log: Path) -> IblDaskError:
    """Return the error of a task that failed: who can mend it, and the end of its log."""
    error = answer["error"] or {"kind": "status -1", "kinds": [], "message": "the task says that it failed"}
    got = " ".join(f"{error['kind']}: {error['message']}".split())
    if answer.get("missing_inputs"):
        return MissingFile(
            f"{request.name} lacks what it reads",
            where=str(workspace.session.path),
            expected=", ".join(answer["missing_inputs"]),
            got=f"no such file, then {got}",
            do="copy these files from the acquisition computer, or run the tasks that make them",
        )
    if "FileNotFoundError" in error["kinds"]:
        do = f"copy this file from the acquisition computer, or run the task that makes it; {log} says who reads it"
        return MissingFile(f"{request.name} did not find a file", where=str(workspace.session.path), got=got, do=do)
    if "ImportError" in error["kinds"]:
        return MissingEnvironment(
            f"{request.name} could not be loaded in the environment {request.environment!r}",
            where=request.executable,
            expected="an environment that holds all that it imports",
            got=got,
            do="install what is missing there",
        )
    return TaskFailed(
        f"{request.name} failed",
        where=request.executable,
        expected="an end without an error",
        got=f"{got}; the end of its log: {tail(read_log(log))}",
        do=f"read {log}",
    )


# -- what was done before ----------------------------------------------------------------------------------


def _mark(request: Request, version: str) -> str:
    """Return what changes with anything but the files that a task depends on."""
    parts = [request.executable, dict(request.arguments), dict(request.settings), dict(request.given), version]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _kept_file(workspace: Workspace, request: Request) -> Path:
    return workspace.session.own / "done" / f"task-{request.name}.json"


def _keep(
    workspace: Workspace,
    request: Request,
    mark: str,
    facts: Mapping[str, Any],
    patterns: Sequence[str],
    started_ns: int,
) -> None:
    """Note that a task is done, with the files that it read and made as they are now."""
    outputs = {path: identity(Path(path)) for path in facts["outputs"] if Path(path).is_file()}
    inputs = _matching(workspace, patterns)
    read = (found for path, found in inputs.items() if path not in outputs and found is not None)
    if any(found["mtime_ns"] >= started_ns for found in read):
        return  # what it read changed meanwhile
    content = {
        "version": KEPT_VERSION,
        "mark": mark,
        "patterns": list(patterns),
        "inputs": inputs,
        "outputs": outputs,
        "facts": dict(facts),
    }
    write_text(_kept_file(workspace, request), json.dumps(content, indent=1))


def _read_kept(workspace: Workspace, request: Request, mark: str) -> dict[str, Any] | None:
    """Return what a task said when it was done; None where it was not, or anything changed since."""
    try:
        content = json.loads(_kept_file(workspace, request).read_text())
        if content["version"] != KEPT_VERSION or content["mark"] != mark:
            return None
        if _matching(workspace, content["patterns"]) != content["inputs"]:
            return None
        if any(not Path(path).is_file() or identity(Path(path)) != was for path, was in content["outputs"].items()):
            return None
        facts: dict[str, Any] = content["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts


def _matching(workspace: Workspace, patterns: Sequence[str]) -> dict[str, Any]:
    """Return the files that match patterns of another package, at any depth as it takes them."""
    found = {path for pattern in patterns for path in workspace.session.path.rglob(pattern) if path.is_file()}
    return {str(path): identity(path) for path in sorted(found)}
