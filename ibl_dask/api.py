"""Public names of `ibl_dask`: sessions and cameras with their data, and the functions that run tasks on them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ibl_dask.deploy.cluster import connect as deploy
from ibl_dask.deploy.cluster.performance import recorded
from ibl_dask.deploy.site import schema
from ibl_dask.deploy.site.profile import Profile
from ibl_dask.errors import MissingFile, UnknownCamera, UsageError
from ibl_dask.model import description, session
from ibl_dask.model.choices import advice
from ibl_dask.model.forecast import TaskForecast
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.signature import ExpectedDataset
from ibl_dask.model.status import Status
from ibl_dask.pipeline import forecast as forecasts
from ibl_dask.pipeline import run as driver
from ibl_dask.pipeline.hooks import Hooks
from ibl_dask.pipeline.limits import Limits, limits_of
from ibl_dask.pipeline.plan import Pipeline, check_request, make_pipeline
from ibl_dask.pipeline.rates import read_rates
from ibl_dask.pipeline.run_outcome import Run
from ibl_dask.pipeline.selection import OF_RUN
from ibl_dask.report.notebook import Page, session_html, show_dashboard
from ibl_dask.store.workspace import Workspace, default_work_dir
from ibl_dask.tasks.dynamic_task import DynamicTask
from ibl_dask.tasks.external.environments import Environments
from ibl_dask.tasks.index_video import COPY_VIDEO
from ibl_dask.tasks.lab_bases import AudioTask, BehaviourTask, EphysTask, RegisterRawDataTask, WidefieldTask
from ibl_dask.tasks.options import OPTIONS
from ibl_dask.tasks.qc_file import require_qc
from ibl_dask.tasks.registry import assign_task
from ibl_dask.tasks.session_files import find_video, video_paths
from ibl_dask.tasks.session_qc import SessionQc
from ibl_dask.tasks.task import Task
from ibl_dask.tasks.video_mp4.compress_task import VideoCompress
from ibl_dask.tasks.video_mp4.convert_task import VideoConvert
from ibl_dask.tasks.video_register.task import VideoRegisterRaw
from ibl_dask.tasks.video_sync.clocks import VideoSyncQcBpod, VideoSyncQcCamlog, VideoSyncQcNidq
from ibl_dask.tasks.video_sync.pulse_times import load_times
from ibl_dask.tasks.video_task import VideoTask
from ibl_dask.transfer.ephys_names import get_new_filename, move_ephys_files, rename_ephys_files
from ibl_dask.transfer.purge import purge_local_data, purge_rig_data
from ibl_dask.transfer.session_copies import check_transfer, copy_session
from ibl_dask.transfer.session_moves import backup_session, move_session, rename_session
from ibl_dask.video.container.index import FrameIndex, index_video

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "AudioTask",
    "BehaviourTask",
    "Camera",
    "DynamicTask",
    "Environments",
    "EphysTask",
    "ExpectedDataset",
    "Limits",
    "Outcome",
    "Pipeline",
    "RegisterRawDataTask",
    "Run",
    "Session",
    "Status",
    "Task",
    "VideoCompress",
    "VideoConvert",
    "VideoRegisterRaw",
    "VideoSyncQcBpod",
    "VideoSyncQcCamlog",
    "VideoSyncQcNidq",
    "VideoTask",
    "WidefieldTask",
    "assign_task",
    "backup_session",
    "check_transfer",
    "connect",
    "copy_session",
    "forecast",
    "get_new_filename",
    "make_pipeline",
    "move_ephys_files",
    "move_session",
    "purge_local_data",
    "purge_rig_data",
    "read_profile",
    "rename_ephys_files",
    "rename_session",
    "run",
]


@dataclass(frozen=True, repr=False)
class Camera:
    """One camera of a session: its video, frame times and measurements."""

    settings: description.Camera
    """Settings of the rig."""
    workspace: Workspace
    """Folders of its files."""

    def __repr__(self) -> str:
        return f"Camera({self.label} of {self.workspace.session.reference})"

    @property
    def label(self) -> str:
        """Return the label: left, right, body or belly."""
        return self.settings.label

    @property
    def video(self) -> Path:
        """Return the path of the video.

        Raises
        ------
        MissingFile
            If there is none.
        """
        path = find_video(self.workspace, self.settings)
        if path is None:
            raise MissingFile(
                f"the {self.label} camera has no video",
                where=str(self.workspace.session.path / self.settings.collection),
                expected=f"_iblrig_{self.label}Camera.raw.mp4 or .avi",
                got="neither",
                do=COPY_VIDEO,
            )
        return path

    @cached_property
    def index(self) -> FrameIndex:
        """Return presentation times and keyframes of the video, without decoding it."""
        return index_video(self.video)

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """Return the frame times on the main clock, s; None before they are published. (frame,)"""
        return load_times(self.workspace, self.label)

    def frames(self) -> xr.DataArray:
        """Return the frames as a lazy array (frame, y, x), with a coordinate `time` once there are times."""
        from ibl_dask.video.array import open_frames

        return open_frames(self.video, self.index, self.times_s)

    def measurements(self) -> xr.Dataset:
        """Return the measurements per frame: brightness, motion energy, sharpness, ..., in memory.

        Raises
        ------
        MissingFile
            If the camera was not measured yet.
        CorruptOutput, FormatTooNew
            If the store of the measurements is damaged, or of another layout.
        """
        from ibl_dask.store.frames import load_dataset

        path = self.workspace.frames_store(self.label)
        measured = load_dataset(path)
        if measured is None:
            raise MissingFile(
                f"the {self.label} camera was not measured yet",
                where=str(path),
                expected="a per-frame store",
                got="nothing",
                do="run VideoSyncQcNidq on this session",
            )
        return measured


class Cameras(dict[str, Camera]):
    """Cameras of a session by label."""

    def __missing__(self, label: str) -> Camera:
        raise UnknownCamera(
            f"this session has no camera {label!r}",
            expected="one of its cameras",
            got=", ".join(self) or "no camera at all",
            do=advice(str(label), self) if self else "look at the experiment description",
        )


@dataclass(frozen=True)
class Session(session.Session):
    """One recording of one subject; see `ibl_dask.model.session.Session` for its parameters.

    Raises
    ------
    NotASession
        If there is no such folder.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.look()

    @cached_property
    def cameras(self) -> Cameras:
        """Return the cameras by label."""
        labels = [camera.label for camera in self.description.cameras]
        return Cameras({label: Camera(self.description.camera(label), self._workspace) for label in labels})

    @property
    def _workspace(self) -> Workspace:
        return Workspace(self, default_work_dir(self))

    def qc(self) -> SessionQc:
        """Return the checks of the cameras, as the last run recorded them.

        Raises
        ------
        MissingFile
            If the session was not checked yet.
        CorruptOutput, FormatTooNew
            If the record is damaged, or of another version.
        """
        return SessionQc.from_record(require_qc(self._workspace)["cameras"])

    def report(self) -> Page:
        """Return the report of the session; as the last value of a cell it is shown.

        Raises
        ------
        MissingFile
            If no run wrote one yet.
        """
        path = self._workspace.report_file
        if not path.is_file():
            raise MissingFile(
                "this session has no report yet",
                where=str(path),
                expected="the report of a run",
                got="no such file",
                do=f"run: ibl-dask run {self.path}",
            )
        return Page(path)

    def _repr_html_(self) -> str:
        rows = []
        for label, camera in self.cameras.items():
            videos = video_paths(camera.workspace, camera.settings)
            timed = camera.workspace.published_times(label) is not None
            rows.append(
                {
                    "camera": label,
                    "video": ", ".join(path.name for path in videos) or "none",
                    "timed": "yes" if timed else "no",
                }
            )
        return session_html(self.reference, str(self.path), rows)


@contextlib.contextmanager
def connect(profile: str | Path | None = None, workers: int | None = None) -> Iterator[Any]:  # distributed has no types
    """Start workers and yield a client to them; in a notebook, display the link of the dashboard.

    Parameters
    ----------
    profile : path or str, optional
        Site profile; this machine by default. See `ibl_dask.deploy.cluster.connect.connect`.
    workers : int, optional
        Number of worker processes; by the profile where not given.
    """
    with deploy.connect(profile, workers) as client:
        show_dashboard(client.dashboard_link, deploy.tunnel_line(client))
        yield client


def forecast(planned: session.Session | str | Path | Pipeline, **options: Any) -> list[TaskForecast]:
    """Return for each task of a session whether a run would do anything, the reason, and the cost; write nothing.

    `ibl-dask plan` prints the same.

    Parameters
    ----------
    planned : Session, path or Pipeline
        The session, or its pipeline.
    options
        See `make_pipeline`; none for a pipeline, which has its own.

    Raises
    ------
    NotASession, DescriptionError, UsageError
        If the session cannot be planned, or the request makes no sense.
    """
    if isinstance(planned, Pipeline) and options:
        raise UsageError(
            "a pipeline has its options already",
            where="ibl_dask.forecast",
            expected="no further options",
            got=", ".join(options),
            do="give them to make_pipeline, or give the session in place of its pipeline",
        )
    pipeline = planned if isinstance(planned, Pipeline) else make_pipeline(planned, **options)
    return forecasts.forecast(pipeline, read_rates(pipeline.workspace.work_dir))


def read_profile(path: str | Path) -> Profile:
    """Read a site profile: its pools, engines and networks.

    Raises
    ------
    MissingFile, UsageError
        If the file does not exist, is not a profile, or describes a site that cannot work.
    """
    return schema.read_profile(Path(path).expanduser())


def run(
    sessions: Iterable[session.Session | str | Path] | session.Session | str | Path,
    *,
    client: Any = None,  # distributed has no types
    **options: Any,  # options of tasks, by name
) -> Run:
    """Run the tasks of some sessions.

    The request is checked before anything starts.

    Parameters
    ----------
    sessions : Session, path or iterable of these
        Sessions to run, in order.
    client : distributed.Client, optional
        Client of the workers. By default, workers are started on this machine for the duration of the run. With a
        client of `connect`, work folder, environments, engines, networks, hooks and limits are by
        default those of its profile.
    options
        See `ibl_dask.pipeline.run.run`.

    Returns
    -------
    Run
        Outcome of each session. A session that fails is part of it, not an exception.

    Raises
    ------
    UsageError
        If the request makes no sense.
    """
    many = [sessions] if isinstance(sessions, session.Session | str | Path) else list(sessions)
    asked = {name: value for name, value in options.items() if name not in ("work_dir", "overwrite", *OF_RUN)}
    check_request(many, **asked)  # before workers start
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(connect()) if client is None else client
        site = deploy.site_of(mine)
        if site is not None:
            options = {
                **site.task_options,
                "work_dir": site.scratch,
                "hooks": Hooks(site.hooks),
                "limits": limits_of(site),
                **options,
            }
        write = stack.enter_context(recorded(mine))
        made = driver.run(many, client=mine, **options)
        if not made.interrupted:
            made.performance, made.performance_failure = write(made.journal / f"dask-{made.name}.html")
    hooks = options.get("hooks")
    if hooks is not None:
        hooks.finish(made)
    return made


def _with_options(function: Callable[..., Run]) -> inspect.Signature:
    """Return the signature of `run` as users are to see it: with every option by its name."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    names = {p.name for p in own}
    further = inspect.signature(driver.run).parameters.values()
    taken = [p for p in further if p.kind is p.KEYWORD_ONLY and p.name not in names]
    of_tasks = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in OPTIONS if name not in names
    ]
    return inspect.signature(function).replace(parameters=[*own, *taken, *of_tasks])


run.__signature__ = _with_options(run)  # type: ignore[attr-defined]  # read by `inspect`, and so by notebooks
