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
from ibl_dask.cli.console import out, print_lines, print_table
from ibl_dask.cli.fetching import FetchWishes, make_feed, work_folder
from ibl_dask.cli.progress import make_view
from ibl_dask.cli.run_log import RunLog
from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import IblDaskError
from ibl_dask.pipeline.driver import Listener
from ibl_dask.pipeline.hooks import Hooks
from ibl_dask.pipeline.limits import limits_of
from ibl_dask.pipeline.plan import check_request
from ibl_dask.pipeline.run import journal_folder, run
from ibl_dask.pipeline.run_outcome import Run, rows
from ibl_dask.report.failure_groups import group_failures
from ibl_dask.report.failure_lines import failure_lines, session_lines
from ibl_dask.report.lines import Line, count, height, some
from ibl_dask.report.session_rows import SessionRow, summarise_ends
from ibl_dask.report.terminal import outcome_table
from ibl_dask.store.failures import failure_from

if TYPE_CHECKING:
    from ibl_dask.deploy.site.profile import Profile

FEW = 5
"""Number of sessions up to which each has its row in a table."""
NAMED = 5
"""Sessions that need someone and are named at the end of a run; the others are counted."""
TWO_SCREENS = 46
"""Lines of the end of a run: two screens of 24 lines, with the prompt."""
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
    fetch: FetchWishes | None = None,
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
    fetch : FetchWishes or None
        Where to sessions are fetched that are not here, and how much at a time.
    options
        Options of tasks, by name.
    """
    from ibl_dask.deploy.cluster.connect import permissions
    from ibl_dask.deploy.site.schema import read_profile

    fetch = fetch or FetchWishes()
    elsewhere: list[str] = []
    paths = find_sessions(sessions, elsewhere)
    site = read_profile(profile, workers or None)
    options = {**site.task_options, **options}
    known = [] if elsewhere else paths  # of sessions that have not come nobody can tell the tasks
    check_request(known, tasks=tasks, output_root=output_root, **options)  # before workers start
    limits = limits_of(site, retry, max_failures)
    given = {
        "tasks": tasks,
        "output_root": output_root,
        "work_dir": work_dir or site.scratch,
        "overwrite": overwrite,
        **options,
    }
    if elsewhere:
        given["work_dir"] = given["work_dir"] or (
            journal_folder(paths, output_root, None) if paths else work_folder(fetch, site)
        )
        out.print(f"fetching: {count(len(elsewhere), 'session')}, into {fetch.folder(site)}", markup=False)
    if paths and not approve(paths, site, workers, yes=yes, skip_absent=True, **given):
        out.print("nothing was started")
        return 1
    hooks = Hooks(site.hooks, shlex.join(["ibl-dask", *sys.argv[1:]]))
    feed = make_feed(paths, elsewhere, fetch, site, given) if elsewhere else None
    wanted = partial(run, paths if feed is None else feed, limits=limits, hooks=hooks, **given)
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    # The end of the terminal must not stop the run; workers started from here inherit the handler.
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with permissions(site), RunLog(journal_folder(paths, output_root, given["work_dir"])) as log:
        try:
            with contextlib.nullcontext() if feed is None else feed:
                result = _run(wanted, site, workers, stop, [log] if feed is None else [log, feed], log)
        except KeyboardInterrupt:  # before the first step or after the last
            out.print(_INTERRUPTED)
            return stop.exit_code
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if feed is not None and feed.n_done:
            was = "was" if feed.n_done == 1 else "were"
            text = (
                f"{count(feed.n_done, 'session')} {was} done before and evicted: not fetched again (--overwrite does)"
            )
            out.print(text, markup=False)
        print_outcome(result, log.line())
        page = page_of(result)
        for warning in hooks.finish(result, page if page.exists() else None):
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


def _run(
    wanted: Callable[..., Run],
    site: Profile,
    workers: int | None,
    stop: _Stop,
    listeners: Sequence[Listener],
    log: RunLog,
) -> Run:
    from ibl_dask.deploy.cluster.connect import connect, tunnel_line

    if workers == 0:
        with make_view() as view, stop.now():
            return wanted(listeners=[view, *listeners])
    from ibl_dask.deploy.cluster.performance import recorded

    with connect(site) as client:
        log.take_over()  # Dask has set up its own handlers
        if client.dashboard_link:
            out.print(f"dashboard: {client.dashboard_link}    (from elsewhere: {tunnel_line(client)})", markup=False)
        with recorded(client) as write:
            with make_view(getattr(client.cluster, "pools", None)) as view, stop.now():
                result = wanted(client=client, listeners=[view, *listeners])
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


def page_of(result: Run) -> Path:
    """Return the path of the page on a run of several sessions."""
    return result.journal / f"report-{result.name}.html"


def write_page(result: Run) -> Line | None:
    """Write the page on a run of several sessions beside its journal; return the line about it."""
    if len(result.sessions) < 2:
        return None
    path = page_of(result)
    try:
        result.report(path)
    except (IblDaskError, OSError) as error:  # it costs no result
        return Line(f"the page on all sessions could not be written: {failure_from(error).message}", "bold")
    return Line(f"report: {path}")


def print_outcome(result: Run, log: Line | None = None) -> None:
    """Print how a run ended: failures by cause, the sessions that need someone, and where to read on.

    Whatever the number of sessions it fits on two screens.

    Parameters
    ----------
    result : Run
        The run.
    log : Line, optional
        Line about its log.
    """
    table = rows(result)
    ending = [*_ending(result, table), *([] if log is None else [log])]
    groups = group_failures(table)
    if len(table) > FEW:
        head = [Line(f"{count(len(table), 'session')}, {summarise_ends(table)}", "bold", indent=0)]
        people = session_lines(table, groups, NAMED)
        print_lines(head)
    else:
        head, people = [], []
        print_table(outcome_table(table))
    room = TWO_SCREENS - sum(height(each, out.width) for each in (head, people, ending))
    print_lines(failure_lines(groups, out.width, 3 * TWO_SCREENS if len(table) == 1 else room, len(table)))
    print_lines(people)
    print_lines(ending)


def _ending(result: Run, table: Sequence[SessionRow]) -> list[Line]:
    """Return the lines after the failures: remarks on the run, and paths."""
    lines = []
    passed_over = [row["session"] for row in table if row["passed_over"]]
    if passed_over:
        verb = "has" if len(passed_over) == 1 else "have"
        lines.append(Line(f"{some(passed_over)}: {verb} none of the tasks asked for"))
    kept, done = (sum(row[key] for row in table) for key in ("chunks_kept", "chunks_done"))
    if kept:
        lines.append(Line(f"{count(kept, 'chunk')} kept from an earlier run, {done:,} computed now"))
    page = write_page(result)
    lines += [page] if page is not None else [Line(f"report: {row['report']}") for row in table if row["report"]]
    if result.stopped is not None:
        lines.append(Line(f"stopped: {result.stopped.what} Got: {result.stopped.got}.", "bold"))
    elsewhere = {outcome.done_by for outcome in result.sessions if outcome.done_by}
    if elsewhere:
        n = sum(bool(outcome.done_by) for outcome in result.sessions)
        lines.append(Line(f"{count(n, 'session')} ended by other runs on this list: {some(sorted(elsewhere))}"))
    if result.interrupted:
        lines.append(Line(_INTERRUPTED))
    lines += [Line(f"left out of the run from then on: {listener}") for listener in result.failed_listeners]
    if result.journal_failure:
        failure = failure_from(result.journal_failure)
        lines.append(Line(f"journal: {failure.what}", "bold"))
        lines += [Line(f"  {heading.lower()}: {text}") for heading, text in failure.parts]
    lines.append(Line(f"journal: {result.journal}"))
    if result.performance is not None:
        lines.append(Line(f"what the workers did: {result.performance}"))
    if result.performance_failure:
        text = f"what the workers did: Dask's record could not be written: {result.performance_failure}"
        lines.append(Line(text, "bold"))
    return lines
