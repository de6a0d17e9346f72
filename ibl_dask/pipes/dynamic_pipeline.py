"""Pipelines from descriptions, under the names of `ibllib.pipes.dynamic_pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ibl_dask.alyx.job_creator import write_legacy_description
from ibl_dask.alyx.session_pipeline import Pipeline
from ibl_dask.errors import DescriptionError
from ibl_dask.model import legacy_protocols as legacy
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.session import Session
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipes.absent import absent
from ibl_dask.store.pipeline_tasks_yaml import read_specs, write_specs

__all__ = [
    "acquisition_description_legacy_session",
    "get_acquisition_description",
    "load_pipeline_dict",
    "make_pipeline",
    "make_pipeline_dict",
]

_PARTS = "make_pipeline(session_path).task_specs() holds the tasks of all devices"
__getattr__ = absent(
    __name__,
    {
        **dict.fromkeys(
            (
                "get_trials_tasks",
                "get_sync_tasks",
                "get_ephys_tasks",
                "get_video_tasks",
                "get_audio_tasks",
                "get_wfield_tasks",
                "get_photometry_tasks",
            ),
            _PARTS,
        ),
        "is_active_trials_task": _PARTS,
    },
)


def make_pipeline(session_path: str | Path, **pkwargs: Any) -> Pipeline:  # arguments of `Pipeline`
    """Return the pipeline of a session, with its rows in Alyx; without Alyx, `ibl_dask.make_pipeline` does more.

    Parameters
    ----------
    session_path : path
        Session folder.
    pkwargs
        Arguments of `Pipeline`.
    """
    return Pipeline(session_path, **pkwargs)


def acquisition_description_legacy_session(session_path: str | Path, save: bool = False) -> dict[str, Any]:
    """Return the content of the description that the protocol of an old session stands for.

    Parameters
    ----------
    session_path : path
        Session folder.
    save : bool
        Write the description into the session, unless it has one.

    Raises
    ------
    DescriptionError
        If no protocol is found, or it stands for none.
    """
    session = Session(Path(session_path))
    protocol = legacy.read_protocol(session.path)
    if protocol is None:
        raise DescriptionError(
            "this session has no settings of a task",
            where=str(session.path),
            expected=f"settings in {legacy.TASK_FOLDER}",
            got="none",
            do="write the description by hand: it names the cameras, the sync and the tasks",
        )
    if save:
        write_legacy_description(session)
    return legacy.legacy_content(protocol)


def get_acquisition_description(protocol: str) -> dict[str, Any]:
    """Return the content of the description that a protocol stands for; see `legacy_content`."""
    return legacy.legacy_content(protocol)


def make_pipeline_dict(pipeline: Pipeline, save: bool = True) -> list[JsonObject]:
    """Return the tasks of a pipeline as rows with names of parents, and write them into its session.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline.
    save : bool
        Write `pipeline_tasks.yaml`.
    """
    if save:
        write_specs(pipeline.session_path, pipeline.task_specs())
    return pipeline.create_tasks_list_from_pipeline()


def load_pipeline_dict(path: str | Path) -> list[JsonObject]:
    """Return the tasks that `pipeline_tasks.yaml` in a session folder lists, as dicts; nothing is imported.

    No run reads this file by itself. Whoever builds these tasks imports the modules that it names: it is a file of the
    site, unlike rows of Alyx, which pass the list of `ibl_dask.alyx.allowed`.

    Raises
    ------
    UnusableFile
        If the file is no list of tasks.
    """
    specs: tuple[TaskSpec, ...] = read_specs(Path(path))
    return [spec.to_dict() for spec in specs]
