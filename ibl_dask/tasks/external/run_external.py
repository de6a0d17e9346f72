"""Running a task of another package in its own environment."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from ibl_dask.errors import (
    IblDaskError,
    MissingEnvironment,
    MissingFile,
    MissingOutput,
    StepKilled,
    TaskFailed,
)
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.result import Result
from ibl_dask.model.review import Review
from ibl_dask.model.shell_names import require_shell_safe
from ibl_dask.model.step import Step, Upstream
from ibl_dask.store import alf
from ibl_dask.store.atomic import make_folder
from ibl_dask.store.task_record import (
    Identities,
    TaskRecord,
    identities,
    parameters_fingerprint,
    read_task_record,
    write_task_record,
)
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.external import child_main
from ibl_dask.tasks.external.child_main import Mask
from ibl_dask.tasks.external.child_process import run_child
from ibl_dask.tasks.external.environments import TOKEN_VARIABLES, Environments, clean_environment
from ibl_dask.tasks.external.run_end import watch_for_end
from ibl_dask.tasks.log_capture import current_log
from ibl_dask.tasks.run_method import UNFINISHED, made_inside, unfinished
from ibl_dask.tasks.step_log import StepLog

_NOT_PLAIN = r"[^\w.-]"
_DATABASE = "database"
"""Fact of a result: address of the database that the task had."""
Fits = Callable[[str], object]
"""Something true where a name matches."""


@dataclass(frozen=True, slots=True)
class Request:
    """Task for another environment."""

    name: str
    """Name of the task within the session."""
    executable: str
    """Dotted path of its class."""
    arguments: Mapping[str, object]
    """Keyword arguments of the class; JSON."""
    settings: Mapping[str, object]
    """Attributes to set on the task; JSON."""
    given: Mapping[str, object]
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
    """Run although nothing changed since it was done."""
    needs_database: bool = False
    """It can do nothing without the database; others use one that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExternal(Step):
    """Run a task of another package; see `run_external`."""

    kind: ClassVar[str] = "external"

    workspace: Workspace
    """The session."""
    request: Request
    """The task."""

    @property
    def name(self) -> str:
        return self.request.name

    def identity(self) -> Mapping[str, object]:
        arguments = repr(sorted(self.request.arguments.items()))
        return {"task": self.request.executable, "arguments": arguments}

    def run(self, upstream: Upstream) -> Result:
        return run_external(self.workspace, self.request)


def run_external(workspace: Workspace, request: Request) -> Result:
    """Run a task in a process of its environment, or keep its results where nothing changed since they were made.

    Raises
    ------
    UnsafeName
        If its session or an argument holds characters of a shell.
    MissingEnvironment
        If the environment is absent, or lacks a package of the task.
    MissingFile
        If an input that is required is not there, or an output afterwards.
    TaskTimedOut
        If it took too long.
    TaskFailed
        If it failed.
    """
    require_shell_safe(request.name, workspace.session.path, request.arguments)
    python, version = request.environments.serving(request.environment, request.executable)
    log = current_log()
    fingerprint = _fingerprint(request, version)
    done = review_external(workspace, request, version).facts
    if done is not None:
        return replace(Result.from_json(done), is_kept=True)
    started_ns, before = time.time_ns(), _matching(workspace, ("*",))  # it is not known yet what it reads
    answer = _ask(python, workspace, request, log)
    result = Result(
        disposition="empty" if answer["outputs"] is None else "complete",
        outputs=tuple(made_inside(workspace, answer["outputs"] or (), request.name)),
        log=log.path,
        facts={"version": answer["version"], **_database_of(request, answer)},
    )
    if answer["status"] == 0:
        _require_outputs(workspace, request, answer, log)
        _keep(workspace, request, fingerprint, result, answer["inputs"], started_ns, before)
        return result
    if answer["status"] not in UNFINISHED:
        raise _error(workspace, request, answer, log)
    return unfinished(result, answer["status"], request.name, log)


def _ask(python: Path, workspace: Workspace, request: Request, log: StepLog) -> JsonObject:
    """Run the task in a folder of its own, which is its home as well: it writes settings there."""
    make_folder(workspace.scratch)
    # Tasks of the field give their home to a shell.
    folder = Path(tempfile.mkdtemp(prefix=f"{re.sub(_NOT_PLAIN, '_', request.name)}-", dir=workspace.scratch))
    program, asked, answered = (folder / name for name in ("run_task.py", "request.json", "answer.json"))
    # Run from where it is, its neighbours there would hide packages of the same names.
    shutil.copyfile(child_main.__file__, program)
    content = {
        "executable": request.executable,
        "session": str(workspace.session.path),
        "arguments": dict(request.arguments),
        "settings": dict(request.settings),
        "given": dict(request.given),
    }
    database = request.environments.database
    if database is not None:
        content["database"] = {
            "url": database.url,
            "user": database.user,
            "token_file": database.token_file,
            "is_needed": request.needs_database,
        }
    secrets = () if database is None else database.secrets()
    asked.write_text(json.dumps(content))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(request.cpu))
    plain = {"NO_COLOR": "1"}  # the log is read in files and in messages
    if database is not None and not database.token_file:
        plain |= {name: os.environ[name] for name in TOKEN_VARIABLES if name in os.environ}
    is_over = watch_for_end(workspace)
    try:
        status = run_child(
            [str(python), str(program), str(asked), str(answered)],
            folder=folder,
            log=log,
            variables={**clean_environment(python), **threads, **plain, "HOME": str(folder), "MPLBACKEND": "Agg"},
            timeout_s=request.timeout_s,
            is_cancelled=is_over,
            mask=Mask(secrets),
        )
        if not answered.exists():
            kind = StepKilled if status < 0 else TaskFailed
            raise kind(
                f"{request.name} ended without an answer",
                where=request.executable,
                expected="a process that says how its task went",
                got=f"exit status {status}; the end of its log: {log.tail}",
                do=f"{log.advice}; a process that was killed may have needed more memory",
            )
        answer: JsonObject = json.loads(Mask(secrets)(answered.read_text(), True))
        if answer["log"]:
            log.flush()
            log.write("INFO", answer["log"])
        return answer
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _database_of(request: Request, answer: JsonObject) -> dict[str, str]:
    """Return the address of the database that a task had, for its record; nothing if it had none."""
    database = request.environments.database
    return {_DATABASE: database.url} if database is not None and answer.get("has_database") else {}


def _require_outputs(workspace: Workspace, request: Request, answer: JsonObject, log: StepLog) -> None:
    if answer.get("missing_outputs"):
        raise MissingOutput(
            f"{request.name} did not leave its outputs",
            where=str(workspace.session.path),
            expected=", ".join(answer["missing_outputs"]),
            got="no such file, or an empty one",
            do=log.advice,
        )


def _error(workspace: Workspace, request: Request, answer: JsonObject, log: StepLog) -> IblDaskError:
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
        do = f"copy this file from the acquisition computer, or run the task that makes it; {log.advice}"
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
        got=f"{got}; the end of its log: {log.tail}",
        do=log.advice,
    )


# -- completion records ------------------------------------------------------------------------------------


def review_external(workspace: Workspace, request: Request, version: str) -> Review:
    """Compare a task with its completion record, without its own package.

    Parameters
    ----------
    workspace
        The session.
    request
        The task.
    version
        Version of the package that holds the task.
    """
    if request.is_forced:
        return Review("forced")
    record = read_task_record(workspace.task_file(request.name))
    if record is None:
        return Review("no record", "it never ran here to its end")
    if not record.patterns:
        return Review("no record", "it does not say what it reads, so it runs each time")
    database = request.environments.database
    if database is not None and record.facts.get(_DATABASE) != database.url:
        return Review("changed parameters", "it was done without this database")
    return record.review(_fingerprint(request, version), _matching(workspace, record.patterns))


def _fingerprint(request: Request, version: str) -> str:
    """Return the fingerprint of everything that a task depends on, files left out."""
    return parameters_fingerprint(
        request.executable, dict(request.arguments), dict(request.settings), dict(request.given), version
    )


def _keep(
    workspace: Workspace,
    request: Request,
    fingerprint: str,
    result: Result,
    patterns: Sequence[str],
    started_ns: int,
    before: Identities,
) -> None:
    """Write the completion record of a task."""
    inputs, outputs = _matching(workspace, patterns), identities(result.outputs)
    record = TaskRecord(fingerprint, inputs, outputs, result.to_json(), patterns)
    write_task_record(workspace.task_file(request.name), record, started_ns, before)


def _matching(workspace: Workspace, patterns: Sequence[str]) -> Identities:
    """Return the files that match patterns of another package, at any depth as it takes them; none of ours."""
    session, own = str(workspace.session.path), str(workspace.session.own)
    wanted = _compiled(tuple(patterns))
    found: list[str] = []
    # A plan asks this of every task, so nothing is built for a file that does not match.
    for folder, folders, names in os.walk(session):
        folders[:] = [name for name in folders if os.path.join(folder, name) != own]  # noqa: PTH118
        above = _from_below(folder.removeprefix(session))
        visible = (name for name in names if not alf.is_hidden(name))
        matching = (name for name in visible if any(f(name) and _all_fit(others, above) for f, *others in wanted))
        found.extend(os.path.join(folder, name) for name in matching)  # noqa: PTH118
    return identities(found)


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> list[list[Fits]]:
    """Return the matchers of the parts of each pattern: name of the file first, then the folders above it."""
    parts = (_from_below(pattern) for pattern in patterns)
    return [[re.compile(fnmatch.translate(part)).match for part in each] for each in parts if each]


def _all_fit(wanted: Sequence[Fits], folders: Sequence[str]) -> bool:
    return len(wanted) <= len(folders) and all(fits(name) for fits, name in zip(wanted, folders, strict=False))


def _from_below(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part]
