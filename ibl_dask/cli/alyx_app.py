"""Commands `ibl-dask alyx ...`; each is imported on call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

alyx_app = typer.Typer(
    name="alyx", help="Jobs of the field's database, Alyx.", no_args_is_help=True, rich_markup_mode=None
)

Subjects = Annotated[Path, typer.Argument(help="Folder of the subjects, or one session.")]
Root = Annotated[Path, typer.Argument(help="Folder of the subjects.")]
Url = Annotated[str, typer.Option("--alyx", help="Address of Alyx [$IBL_DASK_ALYX_URL].")]
User = Annotated[str, typer.Option("--user", help="User of Alyx [$IBL_DASK_ALYX_USER].")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="File of mode 0600 with the token [$IBL_DASK_ALYX_TOKEN_FILE].")
]
Repository = Annotated[
    str | None,
    typer.Option("--repository", help="Data repository of this server [$IBL_DASK_ALYX_REPOSITORY, else by Globus]."),
]
Lab = Annotated[str | None, typer.Option("--lab", help="Lab [those with the repository].")]
Unassigned = Annotated[
    bool, typer.Option("--unassigned", help="Also tasks without a data repository; one server of a lab may do so.")
]
Mode = Annotated[str, typer.Option("--mode", help="Size of the jobs: all, small or large.")]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", help="Only jobs of this environment, such as dlc; `base` for that of ibllib; repeatable."),
]
WorkDir = Annotated[
    Path | None, typer.Option("--work-dir", help="Scratch, journals, spool and lock [.ibl_dask beside the subjects].")
]
Profile = Annotated[Path | None, typer.Option("--profile", help="Site profile, such as cluster/laptop.yaml.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=0, help="Worker processes; 0 runs the steps here, one after another.")
]
Package = Annotated[
    list[str] | None,
    typer.Option("--package", help="Package of the lab whose tasks may run [$IBL_DASK_TASK_PACKAGES]; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@alyx_app.command()
def create(
    subjects: Subjects,
    url: Url = "",
    user: User = "",
    token_file: TokenFile = None,
    repository: Repository = None,
    work_dir: WorkDir = None,
    dry: Annotated[bool, typer.Option("--dry", help="Name the sessions with a flag, and change nothing.")] = False,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Set existing rows back to Waiting, save running ones.")
    ] = False,
    settled: Annotated[float, typer.Option("--settled", help="Age of the last change of a raw file, s.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Make sessions and tasks of Alyx from folders with `raw_session.flag`, and remove the flags."""
    from ibl_dask.cli.alyx import Login, create_jobs_here

    login = Login(url, user, token_file, repository)
    raise typer.Exit(
        create_jobs_here(login, subjects, work_dir, dry=dry, rerun=rerun, settled_s=settled, as_json=as_json)
    )


@alyx_app.command()
def queue(
    url: Url = "",
    user: User = "",
    token_file: TokenFile = None,
    repository: Repository = None,
    lab: Lab = None,
    unassigned: Unassigned = False,
    mode: Mode = "all",
    env: Env = None,
    as_json: Json = False,
) -> None:
    """List the waiting tasks of this server, most urgent first."""
    from ibl_dask.cli.alyx import Login, show_queue

    raise typer.Exit(show_queue(Login(url, user, token_file, repository, lab, unassigned), mode, env, as_json))


def _read_request(
    subjects: Root,
    url: Url = "",
    user: User = "",
    token_file: TokenFile = None,
    repository: Repository = None,
    lab: Lab = None,
    unassigned: Unassigned = False,
    mode: Mode = "all",
    env: Env = None,
    work_dir: WorkDir = None,
    profile: Profile = None,
    workers: Workers = None,
    package: Package = None,
) -> tuple[object, ...]:
    """Return the first arguments of `serve_here`: its options are those of each command that runs the queue."""
    from ibl_dask.cli.alyx import Login

    login = Login(url, user, token_file, repository, lab, unassigned)
    return login, subjects, mode, env, work_dir, profile, workers, package


def _running_queue(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `_read_request`, and its result as the first argument."""
    shared = list(inspect.signature(_read_request, eval_str=True).parameters.values())
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @functools.wraps(command)
    def with_options(**given: Any) -> None:  # values of all types that commands take
        request = _read_request(**{option.name: given.pop(option.name) for option in shared})
        command(request, **given)

    parameters = [*shared, *own]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by typer
    with_options.__annotations__ = {option.name: option.annotation for option in parameters}
    return with_options


@alyx_app.command()
@_running_queue
def run(request: tuple[Any, ...]) -> None:
    """Run the waiting tasks of this server until none is left, and send their results."""
    from ibl_dask.cli.alyx import serve_here

    raise typer.Exit(serve_here(*request, once=True, creates=False))


@alyx_app.command()
@_running_queue
def serve(
    request: tuple[Any, ...],
    lease: Annotated[
        float | None,
        typer.Option(
            "--lease", help="Hours beyond its time-out after which a task that another program left is returned."
        ),
    ] = None,
    interval: Annotated[float, typer.Option("--interval", help="Pause while nothing waits, s.")] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Stop when nothing waits, as for cron.")] = False,
) -> None:
    """Create jobs, run the queue and send results, on and on, until SIGTERM or Ctrl-C."""
    from ibl_dask.cli.alyx import serve_here

    raise typer.Exit(serve_here(*request, once=once, lease_h=lease, interval_s=interval))


@alyx_app.command()
def sync(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(help="Sessions that ran without Alyx: their results are registered as well."),
    ] = None,
    url: Url = "",
    user: User = "",
    token_file: TokenFile = None,
    repository: Repository = None,
    labs: Annotated[str, typer.Option("--labs", help="Labs whose servers get the files [that of the session].")] = "",
    exists: Annotated[bool, typer.Option("--exists", help="The files are on the servers of the lab already.")] = False,
    work_dir: WorkDir = None,
    output_root: Annotated[
        Path | None, typer.Option("--output-root", help="Folder of the results, where they are not in the sessions.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Send refused results as well.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="List the results in the spool; send nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Send results that wait on disk: files, checks, notes and states of tasks."""
    from ibl_dask.alyx.registrar import Registration
    from ibl_dask.cli.alyx_sync import sync_results

    registration = Registration(repository or "", labs, exists)
    request = (sessions or [], url, user, token_file, registration, work_dir, output_root)
    raise typer.Exit(sync_results(*request, again=again, waiting=waiting, as_json=as_json))
