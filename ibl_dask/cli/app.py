"""The `ibl-dask` program: every command is imported when it is called, so that help is instant."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="ibl-dask",
    help="Video preprocessing of International Brain Laboratory sessions.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

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
Pose = Annotated[
    str | None, typer.Option("--pose", help="Pose estimators: dlc, lightning_pose, both, or none [by description].")
]
Tasks = Annotated[
    str | None,
    typer.Option(
        "--tasks",
        help="Tasks wanted, with commas between: names, classes, or dotted paths of a lab's own. "
        "Each session runs those that it has.",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Make everything anew, whatever stands, and replace what was published.")
]
Collection = Annotated[
    str | None, typer.Option("--collection", help="Folder of the protocol whose Bpod times the camera.")
]
LongestExtrapolation = Annotated[
    float | None, typer.Option("--longest-extrapolation", help="Frames that may lie outside a Bpod's trials, s [60].")
]
ReferenceFrames = Annotated[
    Path | None,
    typer.Option("--reference-frames", help="Folder with frames_LABEL.npy of well-placed cameras [ibllib's]."),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", help="How raw videos are compressed: ibl, ibl_bpod or short_gop [by the rig]."),
]
RawVideo = Annotated[
    str | None,
    typer.Option("--raw-video", help="What becomes of a raw video whose copy is proven: keep, trash, delete [keep]."),
]


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Argument(help="Where to make the session [./ibl_dask_demo].")] = None,
    duration: Annotated[float, typer.Option(help="Length of the session, s.")] = 15.0,
    workers: Workers = None,
) -> None:
    """Make a realistic session, run the main job on it, and say where the report is."""
    from ibl_dask.cli.demo import run_demo

    raise typer.Exit(run_demo(folder or Path("ibl_dask_demo"), duration, workers))


@app.command()
def plan(
    sessions: Sessions,
    tasks: Tasks = None,
    output_root: OutputRoot = None,
    work_dir: WorkDir = None,
    profile: ProfileFile = None,
    pose: Pose = None,
    overwrite: Overwrite = False,
    collection: Collection = None,
    longest_extrapolation: LongestExtrapolation = None,
    reference_frames: ReferenceFrames = None,
    encoding: Encoding = None,
    raw_video: RawVideo = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Say what `run` with the same options would do and why: tasks, frames, chunks, core-hours. Nothing is written."""
    from ibl_dask.cli.plan import show_plan

    options = _options(pose, collection, longest_extrapolation, reference_frames, encoding, raw_video)
    raise typer.Exit(show_plan(sessions, tasks, output_root, work_dir, profile, overwrite, as_json, **options))


@app.command()
def run(
    sessions: Sessions,
    tasks: Tasks = None,
    output_root: OutputRoot = None,
    work_dir: WorkDir = None,
    profile: ProfileFile = None,
    workers: Workers = None,
    pose: Pose = None,
    overwrite: Overwrite = False,
    collection: Collection = None,
    longest_extrapolation: LongestExtrapolation = None,
    reference_frames: ReferenceFrames = None,
    encoding: Encoding = None,
    raw_video: RawVideo = None,
) -> None:
    """Run the tasks of some sessions. Running again continues where it stopped."""
    from ibl_dask.cli.run import run_sessions

    options = _options(pose, collection, longest_extrapolation, reference_frames, encoding, raw_video)
    raise typer.Exit(run_sessions(sessions, tasks, output_root, work_dir, profile, workers, overwrite, **options))


@app.command()
def status(
    work_dir: WorkDir = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only sessions that did not succeed.")] = False,
) -> None:
    """Say how the latest run went, or how far it is, from its journal."""
    from ibl_dask.cli.status import show_status

    raise typer.Exit(show_status(work_dir, failed))


@app.command()
def qc(sessions: Sessions, output_root: OutputRoot = None) -> None:
    """Show the outcome of every check, failing ones first."""
    from ibl_dask.cli.qc import show_qc

    raise typer.Exit(show_qc(sessions, output_root))


@app.command()
def report(
    sessions: Sessions,
    output_root: OutputRoot = None,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; beside the results by default.")] = None,
) -> None:
    """Write the report of a session anew and say where it is."""
    from ibl_dask.cli.report import write_reports

    raise typer.Exit(write_reports(sessions, output_root, out))


@app.command()
def doctor(
    profile: ProfileFile = None,
    work_dir: WorkDir = None,
    wait: Annotated[float | None, typer.Option(help="How long to wait for a worker of each pool, s [300].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at this machine and at one worker of each pool: versions, codecs, disks, GPUs, clocks, limits."""
    from ibl_dask.cli.doctor import examine_site

    raise typer.Exit(examine_site(profile, work_dir, wait, as_json))


@app.command()
def jobscript(
    profile: Annotated[Path, typer.Option("--profile", help="Site profile, such as cluster/slurm.yaml.")],
    pool: Annotated[str | None, typer.Option("--pool", help="Name of one pool; all of them by default.")] = None,
) -> None:
    """Print what would be submitted to the batch system, pool by pool. Nothing is submitted or written."""
    from ibl_dask.cli.jobscript import show_job_scripts

    raise typer.Exit(show_job_scripts(profile, pool))


def _options(
    pose: str | None,
    collection: str | None,
    longest_extrapolation: float | None,
    reference_frames: Path | None,
    encoding: str | None,
    raw_video: str | None,
) -> dict[str, object]:
    """Return the options of tasks that were given, under their names in Python."""
    estimators = None if pose is None else [name.strip() for name in pose.split(",")]
    options = {
        "pose": None if estimators is None else [name for name in estimators if name not in ("", "none")],
        "collection": collection,
        "longest_extrapolation_s": longest_extrapolation,
        "reference_frames": reference_frames,
        "encoding": encoding,
        "raw_video": raw_video,
    }
    return {name: value for name, value in options.items() if value is not None}


def _set_up_logging() -> None:
    """Show warnings of libraries; what a step or a worker says is told by the commands, once and in full."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.name.split(".")[0] not in ("ibl_dask", "distributed"))
    # Handlers that are there already belong to the process around the program, and stay as they are.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", handlers=[handler])


def main() -> None:
    """Run the program; an error is a message, not a traceback."""
    from ibl_dask.cli.console import finish_output, prepare_output, show_error

    prepare_output()
    _set_up_logging()
    try:
        app()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told
        from ibl_dask.cli.guard import told

        show_error(told(error))
        sys.exit(2)
    finally:
        finish_output()
