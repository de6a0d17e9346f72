"""`ibl-dask run`."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ibl_dask.cli.before_run import approve
from ibl_dask.cli.console import out, print_table, show_failure
from ibl_dask.cli.progress import make_view
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.model.failure import Failure
from ibl_dask.pipeline.hooks import Hooks
from ibl_dask.pipeline.limits import Limits, MaxFailures, check_retry
from ibl_dask.pipeline.plan import check_request
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.run_outcome import Run, rows
from ibl_dask.report.session_rows import SessionRow
from ibl_dask.store.failures import failure_from

if TYPE_CHECKING:
    from ibl_dask.deploy.site.profile import Profile

_INTERRUPTED = "interrupted: run the same command again, finished chunks are kept"


def run_sessions(
    sessions: Sequence[str],
    tasks: str | Sequence[str] | None,
    output_root: Path | None,
    work_dir: Path | None,
    profile: Path | None,
    workers: int | None,
    overwrite: bool = False,
    retry: str | None = None,
    max_failures: str | None = None,
    yes: bool = False,
    **options: Any,  # options of tasks, by name
) -> int:
    """Run sessions and print the outcome; return the exit code.

    Parameters
    ----------
    sessions : sequence of str
        Arguments of the command line; see `find_sessions`.
    tasks : str or sequence of str or None
        Names of the requested tasks; all where not given.
    output_root, work_dir : Path or None
        Folders of results and of scratch.
    profile : Path or None
        Site profile.
    workers : int or None
        Worker processes; 0 runs the steps in this process.
    overwrite : bool
        Whether existing results are replaced.
    retry : str or None
        What is tried again although nothing changed: `quarantined`.
    max_failures : str or None
        Failed sessions after which none is begun; by default those of the profile.
    yes : bool
        Start even a run that is not expected to fit on its disks, and do not ask about a large one.
    options
        Options of tasks, by name.
    """
    from ibl_dask.deploy.site.schema import read_profile

    paths = find_sessions(sessions)
    site = read_profile(profile, workers or None)
    options = {"environments": site.environments, **options}
    check_request(paths, tasks=tasks, output_root=output_root, **options)  # before workers start
    limits = Limits(
        site.time_outs_s,
        site.longest_pause_s,
        MaxFailures.parse(max_failures or site.max_failures) if max_failures or site.max_failures else MaxFailures(),
        site.io_limit,
        check_retry(frozenset((retry or "").split(",")) - {""}),
    )
    given = {
        "tasks": tasks,
        "output_root": output_root,
        "work_dir": work_dir or site.scratch,
        "overwrite": overwrite,
        **options,
    }
    if not approve(paths, site, workers, yes=yes, skip_absent=True, **given):
        out.print("nothing was started")
        return 1
    hooks = Hooks(site.hooks, shlex.join(["ibl-dask", *sys.argv[1:]]))
    wanted = partial(run, paths, limits=limits, hooks=hooks, **given)
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    # The end of the terminal must not stop the run; workers started from here inherit the handler.
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = _run(wanted, site, workers, stop)
    except KeyboardInterrupt:  # before the first step or after the last
        out.print(_INTERRUPTED)
        return stop.exit_code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    print_outcome(result)
    for warning in hooks.finish(result):
        out.print(f"warning: {warning}", style="bold", markup=False)
    return stop.exit_code if result.interrupted else result.exit_code


class _Stop:
    """Signal handler that treats SIGTERM, sent by Slurm and `kill`, as Ctrl-C.

    Neither interrupts the start or the end of workers.
    """

    def __init__(self) -> None:
        self.exit_code = 0
        self._waits = True

    def __call__(self, number: int, frame: FrameType | None) -> None:
        is_first = not self.exit_code
        self.exit_code = 128 + number
        if not (self._waits and is_first):
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def now(self) -> Iterator[None]:
        """Allow signals to interrupt this block; a signal received before interrupts at once."""
        self._waits = False
        try:
            if self.exit_code:
                raise KeyboardInterrupt
            yield
        finally:
            self._waits = True


def _run(wanted: Callable[..., Run], site: Profile, workers: int | None, stop: _Stop) -> Run:
    from ibl_dask.deploy.cluster.connect import connect, permissions, tunnel_line

    if workers == 0:
        with permissions(site), make_view() as view, stop.now():
            return wanted(listeners=[view])
    from ibl_dask.deploy.cluster.performance import recorded

    with connect(site) as client:
        if client.dashboard_link:
            out.print(f"dashboard: {client.dashboard_link}    (from elsewhere: {tunnel_line(client)})", markup=False)
        with recorded(client) as write:
            with make_view() as view, stop.now():
                result = wanted(client=client, listeners=[view])
            if not result.interrupted:
                path = result.journal / f"dask-{result.name}.html"
                result.performance, result.performance_failure = write(path)
        print_excluded_nodes(client)
        return result


def print_excluded_nodes(client: Any) -> None:  # distributed has no types
    """Print the nodes that pools of jobs excluded."""
    for state in client.cluster.pools() if hasattr(client.cluster, "pools") else ():
        for node, problem in state.excluded.items():
            text = f"pool {state.pool.name} left out {node}: {problem}"
            out.print(f"{text}; tell those who look after it", markup=False)


def print_outcome(result: Run) -> None:
    """Print a table of sessions, every failure in full, and the paths of the reports."""
    from ibl_dask.report.terminal import outcome_table

    table = rows(result)
    print_table(outcome_table(table))
    for row in table:
        for failure in row["failures"]:
            show_failure(row["session"], failure)
        for reason, tasks in _by_reason(row).items():
            verb = "waits" if len(tasks) == 1 else "wait"
            show_failure(f"{row['session']}: {', '.join(tasks)} {verb}", reason)
        if row["passed_over"]:
            out.print(f"{row['session']}: has none of the tasks asked for", markup=False)
        if row["chunks_kept"]:
            out.print(
                f"{row['session']}: {row['chunks_kept']} chunks kept from an earlier run, "
                f"{row['chunks_done']} computed now",
                markup=False,
            )
    for row in table:
        if row["report"]:
            out.print(f"report: {row['report']}", markup=False)
    if result.interrupted:
        out.print(_INTERRUPTED)
    for listener in result.failed_listeners:
        out.print(f"left out of the run from then on: {listener}", markup=False)
    if result.journal_failure:
        show_failure("journal", failure_from(result.journal_failure))
    out.print(f"journal: {result.journal}", markup=False)
    if result.performance is not None:
        out.print(f"what the workers did: {result.performance}", markup=False)
    if result.performance_failure:
        text = f"what the workers did: Dask's record could not be written: {result.performance_failure}"
        out.print(text, style="bold", markup=False)


def _by_reason(row: SessionRow) -> dict[Failure, list[str]]:
    """Return the reasons for which tasks wait that were not requested by name, each with its tasks."""
    reasons: dict[Failure, list[str]] = {}
    for task, reason in row["waiting"].items():
        if task in row["not_required"]:
            reasons.setdefault(reason, []).append(task)
    return reasons
