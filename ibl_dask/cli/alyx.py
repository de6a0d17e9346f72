"""`ibl-dask alyx create`, `queue`, `run` and `serve`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from rich.table import Column, Table

from ibl_dask.alyx.allowed import allowed_packages
from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.credentials import TOKEN_FILE_VARIABLE, URL_VARIABLE, USER_VARIABLE, read_access
from ibl_dask.alyx.job_creator import Creation, create_jobs
from ibl_dask.alyx.repository import Place, find_place
from ibl_dask.alyx.serve import Round, Server, waiting_rows
from ibl_dask.cli.console import out, print_table
from ibl_dask.deploy.site.profile import Profile
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.model.session import is_session_path
from ibl_dask.pipeline.hooks import Hooks
from ibl_dask.pipeline.limits import limits_of
from ibl_dask.store.work_folder import WORK_FOLDER
from ibl_dask.tasks.external.environments import Database, Environments


@dataclass(frozen=True, slots=True)
class Login:
    """Access to Alyx as options name it."""

    url: str = ""
    user: str = ""
    token_file: Path | None = None
    repository: str | None = None
    lab: str | None = None
    unassigned: bool = False

    def open(self) -> tuple[Alyx, Place]:
        """Return a client, and the server that this machine is."""
        alyx = Alyx(read_access(self.url, self.user, self.token_file))
        return alyx, replace(find_place(alyx, self.repository, self.lab), takes_unassigned=self.unassigned)

    def database(self) -> Database:
        """Return the database for tasks that work on it themselves; the token stays in its file or variable."""
        url, user = (
            given or os.environ[name] for given, name in ((self.url, URL_VARIABLE), (self.user, USER_VARIABLE))
        )
        file = self.token_file or os.environ.get(TOKEN_FILE_VARIABLE)
        return Database(url.rstrip("/"), user, "" if file is None else str(Path(file).expanduser().absolute()))


def create_jobs_here(
    login: Login,
    subjects: Path,
    work_dir: Path | None,
    *,
    dry: bool,
    rerun: bool,
    settled_s: float,
    as_json: bool,
) -> int:
    """Make jobs of flagged sessions, and print the outcome of each; return 1 if one failed."""
    alyx, place = login.open()
    made = []
    for each in create_jobs(
        subjects.expanduser().absolute(),
        alyx,
        repository=place.repository,
        dry=dry,
        rerun=rerun,
        settled_s=settled_s,
        work_dir=work_dir,
    ):
        made.append(each)
        if not as_json:
            _print_creation(each)
    if as_json:
        out.print_json(json.dumps([_plain(each) for each in made]))
    elif not made:
        out.print("no session has a flag")
    return int(any(each.state == "failed" for each in made))


def _plain(made: Creation) -> dict[str, object]:
    failure = None if made.failure is None else made.failure.to_json()
    tasks = [row.get("name") for row in made.tasks]
    return {
        "session": str(made.path),
        "state": made.state,
        "reason": made.reason,
        "failure": failure,
        "eid": made.eid,
        "tasks": tasks,
        "n_new": made.n_new,
    }


def _print_creation(made: Creation) -> None:
    text = made.failure.message if made.failure is not None else made.reason
    ending = f"{made.n_new} of {len(made.tasks)} tasks are new" if made.tasks else ""
    out.print(": ".join(filter(None, [str(made.path), made.state, text or ending])), markup=False, soft_wrap=True)


def show_queue(login: Login, mode: str, env: Sequence[str] | None, as_json: bool) -> int:
    """Print the waiting tasks of this server."""
    alyx, place = login.open()
    found = waiting_rows(alyx, place, mode, _labels(env))
    if as_json:
        out.print_json(json.dumps(found))
        return 0
    table = Table(Column("priority", justify="right"), "task", "session", "class", box=None)
    for row in found:
        table.add_row(*(str(row.get(key)) for key in ("priority", "name", "session", "executable")))
    if found:
        print_table(table)
    out.print(f"{len(found)} waiting")
    return 0


def _labels(env: Sequence[str] | None) -> tuple[str | None, ...] | None:
    return None if not env else tuple(None if label == "base" else label for label in env)


def serve_here(
    login: Login,
    subjects: Path,
    mode: str,
    env: Sequence[str] | None,
    work_dir: Path | None,
    profile: Path | None,
    workers: int | None,
    packages: Sequence[str] | None,
    *,
    once: bool,
    lease_h: float | None = None,
    interval_s: float = 60.0,
    creates: bool = True,
) -> int:
    """Run the queue, once or on and on; return 0 after a clean end, also by SIGTERM."""
    logging.getLogger("ibl_dask.alyx").setLevel(logging.INFO)
    alyx, place = login.open()
    site = read_profile(profile, workers or None)
    root = subjects.expanduser().absolute()
    root = root.parents[2] if is_session_path(root) else root
    hooks = partial(Hooks, site.hooks, shlex.join(["ibl-dask", *sys.argv[1:]]))
    stop = threading.Event()
    with contextlib.ExitStack() as stack, _signals(stop):
        server = Server(
            alyx,
            place,
            root,
            work_dir or site.scratch or root / WORK_FOLDER,
            allowed_packages(packages or ()),
            mode=mode,
            env=_labels(env),
            lease_s=None if lease_h is None else lease_h * 3600,
            interval_s=interval_s,
            client=_Workers(site, workers, stack),
            options={
                **site.task_options,
                "environments": Environments(site.environments, login.database()),
                "limits": limits_of(site),
                "hooks": hooks(),
            },
            creates=creates,
            on_round=partial(_report_round, hooks),
            stop=stop,
        )
        with contextlib.suppress(KeyboardInterrupt):
            server.serve(once=once)
    for reason, number in Counter(server.left_waiting.values()).most_common():
        out.print(f"{number} left waiting: {reason}", markup=False, soft_wrap=True)
    out.print("ended; tasks that were not finished wait again" if stop.is_set() else "nothing more can be run now")
    return 0


class _Workers:
    """Workers of a site, which are started when the first task is there to be run.

    Parameters
    ----------
    site : Profile
        The site.
    number : int or None
        Number of workers; 0 runs steps in this process.
    stack : ExitStack
        Ends them.
    """

    def __init__(self, site: Profile, number: int | None, stack: contextlib.ExitStack) -> None:
        self._site, self._number, self._stack = site, number, stack
        self._client: Any = None  # distributed has no types

    def __call__(self) -> Any:
        if self._client is None and self._number != 0:
            from ibl_dask.deploy.cluster.connect import connect, permissions

            self._stack.enter_context(permissions(self._site))
            self._client = self._stack.enter_context(connect(self._site))
        return self._client


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the loop and the run: finished results are sent, other rows return to the queue."""

    def end(number: int, frame: FrameType | None) -> None:
        is_first = not stop.is_set()
        stop.set()
        if is_first:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report_round(hooks: Callable[[], Hooks], made: Round) -> None:
    """Print what a pass over the queue came to, and tell the commands of the site."""
    for each in made.created:
        if each.state != "waiting":
            _print_creation(each)
    if made.problem:
        out.print(f"warning: {made.problem}", style="bold", markup=False)
    if made.run is not None:
        out.print(
            f"{made.n_ended} tasks of {len(made.run.sessions)} sessions ended; journal: {made.run.journal}",
            markup=False,
        )
        for warning in hooks().finish(made.run):
            out.print(f"warning: {warning}", style="bold", markup=False)
