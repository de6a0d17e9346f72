"""Command line program `ibl-dask`; each command is imported on call, so that help is instant."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ibl_dask import __version__
from ibl_dask.cli.alyx_app import alyx_app
from ibl_dask.cli.help import GroupedCommands, examples
from ibl_dask.cli.pose_app import pose_app
from ibl_dask.cli.task_options import with_task_options

app = typer.Typer(
    name="ibl-dask",
    help="Video preprocessing of International Brain Laboratory sessions.",
    cls=GroupedCommands,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=examples(
        "ibl-dask demo                               # a session to try it on",
        "ibl-dask plan /data/Subjects                # tasks, and their cost",
        "ibl-dask run /data/Subjects --workers 8     # on this machine",
        "ibl-dask run list.txt --profile slurm.yaml  # on a cluster",
    ),
)
app.add_typer(alyx_app)
app.add_typer(pose_app)

Sessions = Annotated[
    list[str], typer.Argument(help="Session folders, folders that hold sessions, or text files of paths.")
]
OutputRoot = Annotated[
    Path | None, typer.Option("--output-root", help="Write results under this folder instead of into the sessions.")
]
WorkDir = Annotated[
    Path | None, typer.Option("--work-dir", help="Scratch and journals [$IBL_DASK_SCRATCH, else beside the subjects].")
]
ProfileFile = Annotated[Path | None, typer.Option("--profile", help="Site profile, such as cluster/laptop.yaml.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=0, help="Worker processes; 0 runs the steps here, one after another.")
]
Tasks = Annotated[
    str | None,
    typer.Option(
        "--tasks",
        help="Tasks to run, separated by commas: names, classes, or dotted paths of a lab's own. "
        "Each session runs those of them that it has.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Compute everything anew, and replace existing and published results.")
]
Failed = Annotated[bool, typer.Option("--failed", help="Only sessions that fail.")]
Details = Annotated[bool, typer.Option("--details", help="Print each session in full, as where one is named.")]


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"ibl_dask {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Video preprocessing of International Brain Laboratory sessions."""


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Argument(help="Folder of the session [./ibl_dask_demo].")] = None,
    duration: Annotated[float, typer.Option(help="Length of the session, s.")] = 20.0,
    workers: Workers = None,
    pose: Annotated[bool, typer.Option("--pose", help="Find keypoints with a toy network (extra `pose`).")] = False,
) -> None:
    """Write a realistic session, run its tasks, and print the path of the report."""
    from ibl_dask.cli.demo import run_demo

    raise typer.Exit(run_demo(folder or Path("ibl_dask_demo"), duration, workers, pose))


@app.command(
    epilog=examples(
        "ibl-dask plan /data/Subjects/SW_001/2023-05-01/001",
        "ibl-dask plan sessions.txt --failed",
        "ibl-dask plan sessions.txt --json > plan.json",
    )
)
@with_task_options
def plan(
    sessions: Sessions,
    tasks: Tasks = None,
    output_root: OutputRoot = None,
    work_dir: WorkDir = None,
    profile: ProfileFile = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    failed: Failed = False,
    details: Details = False,
    **options: Any,  # see `with_task_options`
) -> None:
    """Show the forecast of `run`: tasks, reasons, frames, chunks, core-hours. Nothing is written."""
    from ibl_dask.cli.plan import show_plan

    request = (sessions, tasks, output_root, work_dir, profile, overwrite)
    raise typer.Exit(show_plan(*request, as_json, failed, details, **options))


@app.command(
    epilog=examples(
        "ibl-dask run /data/Subjects/SW_001/2023-05-01/001",
        "ibl-dask run sessions.txt --profile slurm.yaml --max-failures 5%",
        "ibl-dask run sessions.txt --tasks VideoSyncQcNidq,VideoCompress",
        "ibl-dask run sessions.txt --retry quarantined",
    )
)
@with_task_options
def run(
    sessions: Sessions,
    tasks: Tasks = None,
    output_root: OutputRoot = None,
    work_dir: WorkDir = None,
    profile: ProfileFile = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    retry: Annotated[
        str | None, typer.Option("--retry", help="`quarantined`: try tasks that failed before and have not changed.")
    ] = None,
    max_failures: Annotated[
        str | None, typer.Option("--max-failures", help="Failed sessions (20, or 5%) after which none is begun.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Start a run that may not fit on its disks; do not ask about a large one.")
    ] = False,
    fetch_to: Annotated[
        Path | None,
        typer.Option(
            "--fetch-to",
            help="Folder for sessions of Alyx that are not here "
            "[$IBL_DASK_FETCH_TO, the profile, the first of $IBL_DASK_SUBJECTS].",
        ),
    ] = None,
    fetch_max: Annotated[
        str | None, typer.Option("--fetch-max", help="Most that is fetched and not run yet [200 GB].")
    ] = None,
    evict_fetched: Annotated[
        bool, typer.Option("--evict-fetched", help="Remove fetched files, unchanged ones alone, after success.")
    ] = False,
    **options: Any,  # see `with_task_options`
) -> None:
    """Run the tasks of some sessions. Running again continues where it stopped."""
    from ibl_dask.cli.fetching import FetchWishes
    from ibl_dask.cli.run import run_sessions

    raise typer.Exit(
        run_sessions(
            sessions,
            tasks,
            output_root,
            work_dir,
            profile,
            workers,
            overwrite,
            retry=retry,
            max_failures=max_failures,
            yes=yes,
            fetch=FetchWishes(fetch_to, fetch_max, evict_fetched),
            **options,
        )
    )


@app.command(
    epilog=examples(
        "ibl-dask status",
        "ibl-dask status --watch",
        "ibl-dask status --failed > again.txt; ibl-dask run again.txt",
    )
)
def status(
    sessions: Annotated[
        list[str] | None, typer.Argument(help="Sessions to show, or folders or lists of them [all of the run].")
    ] = None,
    work_dir: WorkDir = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Print the paths of failed sessions alone, as a list for `run`.")
    ] = False,
    run: Annotated[str | None, typer.Option("--run", help="Name of the run, or its beginning [the latest].")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Only sessions in these states: failed,running,...")
    ] = None,
    category: Annotated[str | None, typer.Option("--category", help="Only with failures of these categories.")] = None,
    camera: Annotated[str | None, typer.Option("--camera", help="Only where something is wrong with a camera.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only where a task is not complete.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Print again until the run ends.")] = False,
    details: Details = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Show the outcome or the progress of a run: sessions, and failures by cause."""
    from ibl_dask.cli.status import show_status
    from ibl_dask.report.row_filter import RowFilter

    wanted = RowFilter.of_options(state, category, camera, task)
    raise typer.Exit(show_status(work_dir, failed, run, as_json, sessions or (), wanted, watch, details))


@app.command()
def qc(
    sessions: Sessions,
    output_root: OutputRoot = None,
    failed: Failed = False,
    details: Details = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Show the outcome of the checks: of one session all of them, failing ones first; of several, by camera."""
    from ibl_dask.cli.qc import show_qc

    raise typer.Exit(show_qc(sessions, output_root, failed, details, as_json))


@app.command()
def logs(
    session: Annotated[str, typer.Argument(help="Session folder, or the folder of its results.")],
    task: Annotated[str | None, typer.Argument(help="Task, or its class; without it, all that have logs.")] = None,
    output_root: OutputRoot = None,
    attempt: Annotated[int | None, typer.Option("--attempt", min=1, help="Number of the attempt [the latest].")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed, or has no end.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as the log grows, until Ctrl-C.")] = False,
    n_lines: Annotated[int | None, typer.Option("--lines", min=1, help="Only the last lines.")] = None,
) -> None:
    """Show the log of a task, or which tasks have one."""
    from ibl_dask.cli.logs import show_logs

    raise typer.Exit(show_logs(session, task, output_root, attempt, failed, follow, n_lines))


@app.command()
def report(
    sessions: Annotated[
        list[str] | None, typer.Argument(help="Session folders, folders that hold sessions, or text files of paths.")
    ] = None,
    output_root: OutputRoot = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write [beside the results].")] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Write the report of a run: its name, its beginning, or `latest`.")
    ] = None,
    crate: Annotated[
        bool, typer.Option("--crate", help="Describe a run, named with --run, as an RO-Crate in its folder instead.")
    ] = False,
    work_dir: WorkDir = None,
) -> None:
    """Write the report of a session, or of a run, anew, and print its path."""
    from ibl_dask.cli.report import write_crate, write_reports, write_run_report

    if crate and (run is None or out is not None):
        raise typer.BadParameter("--crate takes a run, by --run, and writes into its folder: leave --out out")
    if crate and run is not None:
        raise typer.Exit(write_crate(work_dir, run))
    if run is not None:
        raise typer.Exit(write_run_report(work_dir, run, out))
    if not sessions:
        raise typer.BadParameter("name sessions, or a run with --run")
    raise typer.Exit(write_reports(sessions or (), output_root, out))


@app.command(
    epilog=examples(
        "ibl-dask clip /data/Subjects/SW_001/2023-05-01/001 --at 1234.5 --speed 0.25",
        "ibl-dask clip /data/Subjects/SW_001/2023-05-01/001 --at 60 --after 0.5 --camera left,body --pose dlc",
    )
)
def clip(
    session: Annotated[str, typer.Argument(help="Session folder.")],
    at: Annotated[float, typer.Option("--at", help="Time of the event on the main clock, s.")],
    before: Annotated[float, typer.Option("--before", help="Time to show before it, s.")] = 1.0,
    after: Annotated[float, typer.Option("--after", help="Time to show after it, s.")] = 2.0,
    speed: Annotated[float, typer.Option("--speed", help="Speed: 0.25 is four times as slow as it was.")] = 1.0,
    camera: Annotated[
        str | None, typer.Option("--camera", help="Cameras from left to right, separated by commas [all].")
    ] = None,
    pose: Annotated[
        str | None, typer.Option("--pose", help="Draw the keypoints of a tracker: dlc or lightningPose.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write, .mp4 [beside the results].")] = None,
    height: Annotated[int, typer.Option("--height", min=16, help="Largest height of the pictures, px.")] = 512,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a clip that exists.")] = False,
    output_root: OutputRoot = None,
) -> None:
    """Write a clip of all cameras side by side around an event, and print its path (extra `clip`)."""
    from ibl_dask.cli.clip import ClipWishes, write_session_clip
    from ibl_dask.clip.schedule import Window

    window, wishes = Window(at, before, after, speed), ClipWishes(camera, pose, out, height, overwrite)
    raise typer.Exit(write_session_clip(session, output_root, window, wishes))


@app.command()
def export(
    sessions: Sessions,
    form: Annotated[
        str,
        typer.Option("--format", help="movement (netCDF), dlc (HDF5 and CSV), csv (Lightning Pose) or nwb (ndx-pose)."),
    ],
    target: Annotated[
        Path | None, typer.Option("--out", help="Folder that gets subject/date/number [beside the results].")
    ] = None,
    cameras: Annotated[str | None, typer.Option("--cameras", help="Labels, separated by commas [all].")] = None,
    estimator: Annotated[str | None, typer.Option("--estimator", help="dlc or lightning_pose [both].")] = None,
    output_root: OutputRoot = None,
) -> None:
    """Write keypoints in the format of another program. Excluded cameras are left out (`verdict`)."""
    from ibl_dask.cli.export import export_poses

    raise typer.Exit(export_poses(sessions, form, target, cameras, estimator, output_root))


@app.command()
def verdict(
    session: Annotated[str, typer.Argument(help="Session folder.")],
    camera: Annotated[str | None, typer.Argument(help="Label; without it, the verdicts are printed.")] = None,
    decision: Annotated[
        str | None,
        typer.Argument(
            help="accept; rerun: the next run estimates anew; exclude: no features, no exports; "
            "label: write the worst frames as folders to label."
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Reason, in a sentence.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Author [the user].")] = None,
    estimator: Annotated[str | None, typer.Option("--estimator", help="dlc or lightning_pose [both].")] = None,
    output_root: OutputRoot = None,
    n_frames: Annotated[int, typer.Option("--frames", min=1, help="Most frames to label.")] = 20,
    scorer: Annotated[str | None, typer.Option("--scorer", help="Person who labels [the author].")] = None,
    target: Annotated[Path | None, typer.Option("--out", help="New folder to label [beside the results].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Judge the keypoints of a camera: runs, checks and exports go by it."""
    from ibl_dask.cli.verdict import give_verdict

    where = (estimator, output_root, n_frames, scorer, target)
    raise typer.Exit(give_verdict(session, camera, decision, reason, by, *where, as_json))


@app.command()
def view(
    sessions: Annotated[list[str] | None, typer.Argument(help="Sessions to show, or folders or lists of them.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="List the sessions of a run, by its name.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the server; 0 for any free one.")] = 0,
    target: Annotated[
        Path | None, typer.Option("--out", help="Write a folder that opens without a server, of one session.")
    ] = None,
    start: Annotated[float | None, typer.Option("--from", help="Start of the folder's range, s [first frame].")] = None,
    stop: Annotated[float | None, typer.Option("--to", help="End of the folder's range, s [last frame].")] = None,
    width_px: Annotated[int, typer.Option("--width", min=64, max=4096, help="Width of pictures, px.")] = 480,
    estimator: Annotated[str | None, typer.Option("--estimator", help="dlc or lightning_pose.")] = None,
    output_root: OutputRoot = None,
    work_dir: WorkDir = None,
) -> None:
    """Show cameras in step, with all that was measured, in a browser on this machine."""
    from ibl_dask.cli.view import FolderWishes, view_sessions

    folder = FolderWishes(target, start, stop)
    raise typer.Exit(view_sessions(sessions or [], run, port, folder, width_px, estimator, output_root, work_dir))


@app.command()
def doctor(
    profile: ProfileFile = None,
    work_dir: WorkDir = None,
    wait: Annotated[float | None, typer.Option(help="Longest wait for a worker of each pool, s [300].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Examine this machine and one worker of each pool: versions, codecs, disks, GPUs, clocks, limits."""
    from ibl_dask.cli.doctor import examine_site

    raise typer.Exit(examine_site(profile, work_dir, wait, as_json))


@app.command()
def clean(
    sessions: Annotated[list[str] | None, typer.Argument(help="Sessions; without any, the work folder alone.")] = None,
    work_dir: WorkDir = None,
    output_root: OutputRoot = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Also old scratch of unfinished sessions.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Also old logs.")] = False,
    trash: Annotated[bool, typer.Option("--trash", help="Also old videos in the trash, RAW VIDEOS included.")] = False,
    journals: Annotated[bool, typer.Option("--journals", help="Also journals of old runs.")] = False,
    older_than: Annotated[str, typer.Option(help="Least age: 12h, 30d.")] = "30d",
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, it is only shown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show, or remove, scratch and temporaries that nobody needs. Never a result, never raw data outside the trash."""
    from ibl_dask.cli.clean import clean as clean_up

    choices = (scratch, logs, trash, journals)
    raise typer.Exit(clean_up(sessions or [], work_dir, output_root, older_than, *choices, yes, as_json))


@app.command()
def why(
    file: Annotated[Path, typer.Argument(help="A result, log or record of a session, or a file of its scratch.")],
    profile: ProfileFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which task made a file, from what, whether it is stale, and what a run would compute anew."""
    from ibl_dask.cli.why import show_why

    raise typer.Exit(show_why(file, profile, as_json))


@app.command()
def jobscript(
    profile: Annotated[Path, typer.Option("--profile", help="Site profile, a copy of one in `cluster/`.")],
    pool: Annotated[str | None, typer.Option("--pool", help="Name of one pool; all of them by default.")] = None,
) -> None:
    """Print the job scripts of each pool. Nothing is submitted or written."""
    from ibl_dask.cli.jobscript import show_job_scripts

    raise typer.Exit(show_job_scripts(profile, pool))


@app.command()
def purge_rig_data(
    local_root: Annotated[Path, typer.Argument(help="Folder of sessions on the acquisition computer.")],
    remote_root: Annotated[Path, typer.Argument(help="Folder of the server that they were copied to.")],
    file_pattern: Annotated[
        list[str] | None,
        typer.Option("--file-pattern", help="Names or paths within the session, such as '*.avi'; may be repeated [*]."),
    ] = None,
    lab: Annotated[str | None, typer.Option("--lab", help="Lab of the sessions, where no folder names it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove the files, instead of showing them.")] = False,
    files: Annotated[bool, typer.Option("--files", help="A line for every file, however many there are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Remove raw files whose copies at the destination are proven equal. A dry run, unless --yes is given."""
    from ibl_dask.cli.purge import purge

    patterns = file_pattern or []
    raise typer.Exit(purge(local_root, remote_root, patterns, lab, yes=yes, every_file=files, as_json=as_json))


def _set_up_logging() -> logging.Handler:
    """Show warnings of libraries only: the commands print failures of steps and workers once and in full."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.name.split(".")[0] not in ("ibl_dask", "distributed"))
    # Handlers that are there already belong to the process around the program, and stay as they are.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[handler])
    return handler


def main() -> None:
    """Run the program; an error is printed as a message, not as a traceback."""
    from ibl_dask.cli.console import finish_output, prepare_output, show_error

    prepare_output()
    handler = _set_up_logging()
    try:
        app()
    except Exception as error:  # noqa: BLE001  # printed below
        from ibl_dask.cli.guard import known_error

        show_error(known_error(error))
        sys.exit(2)
    finally:
        logging.getLogger().removeHandler(handler)
        finish_output()
