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
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibl_dask.deploy.batch_systems.registry import own_job
from ibl_dask.errors import IblDaskError, InputError
from ibl_dask.model import events
from ibl_dask.model.forecast import Rates
from ibl_dask.model.session import Session, real_path
from ibl_dask.pipeline.admission import Feed
from ibl_dask.pipeline.driver import Driver, Listener
from ibl_dask.pipeline.energy import EnergyMeter
from ibl_dask.pipeline.hooks import Hooks
from ibl_dask.pipeline.in_process import InProcess
from ibl_dask.pipeline.limits import NO_LIMITS, Limits
from ibl_dask.pipeline.plan import Pipeline, check_request, make_pipeline
from ibl_dask.pipeline.rates import read_rates
from ibl_dask.pipeline.run_outcome import Run, SessionOutcome
from ibl_dask.pipeline.time_outs import choose_time_outs
from ibl_dask.store.processes import this_process
from ibl_dask.store.run_record import RunRecord
from ibl_dask.store.task_record import parameters_fingerprint
from ibl_dask.store.work_folder import WORK_FOLDER
from ibl_dask.store.workspace import default_work_dir
from ibl_dask.tasks.external.environments import VARIABLE, Environments, as_environments
from ibl_dask.tasks.registry import SITE_OPTIONS

if TYPE_CHECKING:
    from ibl_dask.pipeline.executors import Executor


def run(
    sessions: Sequence[Session | str | Path] | Feed,
    *,
    client: Any = None,  # distributed has no types
    executor: Executor | None = None,
    tasks: str | Sequence[str] | None = None,
    output_root: str | Path | None = None,
    work_dir: str | Path | None = None,
    overwrite: bool = False,
    listeners: Sequence[Listener] = (),
    hooks: Hooks | None = None,
    limits: Limits = NO_LIMITS,
    is_hashed: bool = False,
    **options: Any,  # options of tasks, by name
) -> Run:
    """Run the tasks of some sessions.

    Parameters
    ----------
    sessions : sequence of Session or path, or Feed
        Sessions to run, in order: the first is finished first. A feed hands them out while the run goes on.
    client : distributed.Client, optional
        Cluster where steps run; by default they run in this process, one after another.
    executor : Executor, optional
        Executor of the steps, instead of a client.
    tasks, output_root, work_dir, overwrite, options
        See `make_pipeline`.
    listeners : sequence of callables
        Called with every event.
    hooks : Hooks, optional
        Commands of the site. Here `on_pause` is run; the caller calls `Hooks.finish` with the result.
    limits : Limits
        Time-outs, longest pause, failed sessions, load on disks, and what is tried again.
    is_hashed : bool
        Give the MD5 of their results with the ends of tasks, for a database.

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
    feed, listed = (None, sessions) if isinstance(sessions, Sequence) else (sessions, [])
    check_request(listed, tasks=tasks, output_root=output_root, **options)
    outcomes = [SessionOutcome(s.path if isinstance(s, Session) else real_path(s)) for s in listed]
    given = {s.path: s for s in listed if isinstance(s, Session)}
    folder = journal_folder([outcome.path for outcome in outcomes], output_root, work_dir)
    if executor is None:
        executor = InProcess() if client is None else _on_cluster(client)
    n_workers = 0 if isinstance(executor, InProcess) else executor.slots
    options["environments"] = _with_variables(as_environments(options.get("environments")), os.environ)

    rates = read_rates(folder)

    def planner(path: Path) -> Callable[[], Pipeline]:
        # A copy of the caller's object: the description that it reads and keeps must go with the session.
        session = copy.copy(given[path]) if path in given else path
        try:
            specs = {} if feed is None else {"specs": feed.specs(path)}
        except IblDaskError as error:
            return partial(_raise, copy.copy(error))
        return partial(
            _plan,
            session,
            rates,
            limits.time_outs_s,
            tasks=tasks,
            output_root=output_root,
            work_dir=work_dir,
            overwrite=overwrite,
            skip_absent=True,
            **{**options, **specs},
        )

    name = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + secrets.token_hex(3)
    clock = time.perf_counter()
    wanted = {"tasks": tasks, "output_root": output_root, "overwrite": overwrite, **options}
    request = _mark(wanted) if feed is None else ""
    with RunRecord(folder, name, partial(_live_figures, client, EnergyMeter())) as record:
        result = Run(name, record.run.journal, outcomes, n_workers)
        watching = [] if hooks is None else [hooks.watch(result)]
        heard = [*listeners, *watching]
        driver = Driver(executor, record, result, heard, limits, request, _mark(options), feed, is_hashed)
        paths = tuple(str(outcome.path) for outcome in outcomes)
        made_by, host, pid = version("ibl_dask"), socket.gethostname(), os.getpid()
        about = (host, pid, n_workers, made_by, time.time(), this_process().mark, own_job(), _as_text(wanted))
        driver.emit(events.RunStarted(name, paths, *about, n_to_come=0 if feed is None else feed.n_sessions))
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
    result.journal_failure = record.failure
    return result


def _plan(
    session: Session | Path,
    rates: Rates,
    time_outs_s: Mapping[str, float],
    **arguments: Any,  # of `make_pipeline`
) -> Pipeline:
    """Plan a session, with the time-outs of its tasks."""
    pipeline = make_pipeline(session, **arguments)
    return replace(pipeline, time_outs_s=choose_time_outs(pipeline, rates, time_outs_s))


def _raise(error: IblDaskError) -> Pipeline:
    """Fail, in place of a plan."""
    raise error


def _with_variables(environments: Environments, variables: Mapping[str, str]) -> Environments:
    """Return environments with those that variables of this process name: workers may not have these variables."""
    places: dict[str, str] = {}
    for name, place in variables.items():
        if name.startswith(VARIABLE):
            label = name.removeprefix(VARIABLE).lower()
            places |= {label: place, label.replace("_", "-"): place}
    return replace(environments, places={**places, **environments.places})


def _mark(values: Mapping[str, object]) -> str:
    """Return a fingerprint of options."""
    return parameters_fingerprint(sorted((name, repr(value)) for name, value in values.items()))


def _as_text(options: Mapping[str, object]) -> dict[str, str]:
    """Return the options that differ from their defaults, as text."""
    given = {name: value for name, value in options.items() if name not in (*SITE_OPTIONS, "specs")}
    return {
        name: ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for name, value in given.items()
        if value is not None and value is not False
    }


def _live_figures(client: Any, meter: EnergyMeter) -> dict[str, object]:  # distributed has no types
    """Return the number of workers, the jobs in the queue of each pool by state and reason, and the energy taken."""
    energy_j = meter.read_j()
    figures: dict[str, object] = {} if energy_j is None else {"energy_j": round(energy_j)}
    cluster = getattr(client, "cluster", None)
    if cluster is None or not hasattr(cluster, "pools"):
        return figures
    pools = cluster.pools()
    queues = {state.pool.name: dict(Counter(text for text in state.queue.values() if text)) for state in pools}
    return {**figures, "n_workers": sum(state.n_workers for state in pools), "queues": queues}


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
