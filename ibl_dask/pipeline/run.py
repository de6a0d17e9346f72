"""Run the tasks of sessions: the entry point of Python, notebook and command line."""

from __future__ import annotations

import contextlib
import copy
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibl_dask.errors import InputError
from ibl_dask.model import events
from ibl_dask.model.session import Session, real_path
from ibl_dask.pipeline.driver import Driver, Listener
from ibl_dask.pipeline.in_process import InProcess
from ibl_dask.pipeline.plan import Pipeline, check_request, make_pipeline
from ibl_dask.pipeline.run_outcome import Run, SessionOutcome
from ibl_dask.store.journal import Journal
from ibl_dask.store.processes import this_process
from ibl_dask.store.workspace import WORK_FOLDER, default_work_dir
from ibl_dask.tasks.external.environments import VARIABLE, Environments, as_environments

if TYPE_CHECKING:
    from ibl_dask.pipeline.executors import Executor


def run(
    sessions: Sequence[Session | str | Path],
    *,
    client: Any = None,  # distributed has no types
    executor: Executor | None = None,
    tasks: str | Sequence[str] | None = None,
    output_root: str | Path | None = None,
    work_dir: str | Path | None = None,
    overwrite: bool = False,
    listeners: Sequence[Listener] = (),
    **options: Any,  # options of tasks, by name
) -> Run:
    """Run the tasks of some sessions.

    Parameters
    ----------
    sessions : sequence of Session or path
        Sessions to run, in order: the first is finished first.
    client : distributed.Client, optional
        Cluster where steps run; by default they run in this process, one after another.
    executor : Executor, optional
        Executor of the steps, instead of a client.
    tasks, output_root, work_dir, overwrite, options
        See `make_pipeline`.
    listeners : sequence of callables
        Called with every event.

    Returns
    -------
    Run
        Result of the run. The failure of a session is part of it, not an exception; so is a session without any of the
        tasks.

    Raises
    ------
    UsageError
        If the request makes no sense; see `check_request`. Nothing was started then.
    """
    check_request(sessions, tasks=tasks, output_root=output_root, **options)
    outcomes = [SessionOutcome(s.path if isinstance(s, Session) else real_path(s)) for s in sessions]
    given = {s.path: s for s in sessions if isinstance(s, Session)}
    folder = journal_folder([outcome.path for outcome in outcomes], output_root, work_dir)
    if executor is None:
        executor = InProcess() if client is None else _on_cluster(client)
    n_workers = 0 if isinstance(executor, InProcess) else executor.slots
    options["environments"] = _with_variables(as_environments(options.get("environments")), os.environ)

    def planner(path: Path) -> Callable[[], Pipeline]:
        # A copy of the caller's object: the description that it reads and keeps must go with the session.
        session = copy.copy(given[path]) if path in given else path
        return partial(
            make_pipeline,
            session,
            tasks=tasks,
            output_root=output_root,
            work_dir=work_dir,
            overwrite=overwrite,
            skip_absent=True,
            **options,
        )

    name = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + secrets.token_hex(3)
    clock = time.perf_counter()
    with Journal(folder, name) as journal:
        result = Run(name, journal.path, outcomes, n_workers)
        driver = Driver(executor, journal, result, listeners)
        paths = tuple(str(outcome.path) for outcome in outcomes)
        made_by, host, pid = version("ibl_dask"), socket.gethostname(), os.getpid()
        driver.emit(events.RunStarted(name, paths, host, pid, n_workers, made_by, time.time(), this_process().mark))
        try:
            driver.drive(planner)
        except KeyboardInterrupt:
            result.interrupted = True
        finally:
            result.seconds = time.perf_counter() - clock
            for outcome in outcomes:
                if outcome.state == "interrupted":
                    driver.emit(events.SessionInterrupted(str(outcome.path), time.time()))
            n = Counter(outcome.state for outcome in outcomes)
            ends = (n["done"], n["failed"], result.seconds, time.time())
            driver.emit(events.RunFinished(name, *ends, result.interrupted, n["interrupted"], n["not started"]))
    result.journal_failure = journal.failure
    return result


def _with_variables(environments: Environments, variables: Mapping[str, str]) -> Environments:
    """Return environments with those that variables of this process name: workers may not have these variables."""
    places: dict[str, str] = {}
    for name, place in variables.items():
        if name.startswith(VARIABLE):
            label = name.removeprefix(VARIABLE).lower()
            places |= {label: place, label.replace("_", "-"): place}
    return Environments({**places, **environments.places})


def _on_cluster(client: Any) -> Executor:  # distributed has no types
    from ibl_dask.pipeline.executors import OnCluster  # Dask takes a second, and runs without workers need none of it

    return OnCluster(client)


def journal_folder(paths: Sequence[Path], output_root: str | Path | None, work_dir: str | Path | None) -> Path:
    """Return the work folder of a run: the one that is given, else that of its first session.

    Parameters
    ----------
    paths : sequence of Path
        Session folders.
    output_root, work_dir : path, optional
        See `make_pipeline`.
    """
    if work_dir is not None:
        return Path(work_dir).expanduser().absolute()
    for path in paths:
        with contextlib.suppress(InputError, OSError):
            session = Session(path, None if output_root is None else Path(output_root))
            session.look()
            return default_work_dir(session)
    return Path.cwd() / WORK_FOLDER
