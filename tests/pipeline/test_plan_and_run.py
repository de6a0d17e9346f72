"""What a plan says of a session is what a run then does, in every state of it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from other_environment import make_environment

import ibl_dask as ibd
from ibl_dask.errors import UsageError
from ibl_dask.model.forecast import TaskForecast
from ibl_dask.model.status import Status
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.pipeline.run_outcome import SessionOutcome

if TYPE_CHECKING:
    from pathlib import Path

SPARED = ("encode", "framepass", "times", "wheel", "frames")
"""Steps that are left out where they were done; others look, judge or list each time."""


def planned(folder: Path, **options: Any) -> dict[str, TaskForecast]:
    return {task.task: task for task in forecast(make_pipeline(folder, **options))}


def insist_on_agreement(folder: Path, **options: Any) -> tuple[dict[str, TaskForecast], SessionOutcome]:
    """Plan, run, and compare; return both."""
    said = planned(folder, **options)
    (outcome,) = run([folder], **options).sessions
    assert list(said) == list(outcome.tasks)
    for name, task in said.items():
        status = outcome.tasks[name]
        assert task.waits == (status in (Status.WAITING, Status.HELD)), (name, task, status)
        assert task.fails == (status is Status.ERRORED), (name, task, status)
    steps = [key[0].split("-", 1) for key, record in outcome.records.items() if record.status == "done"]
    worked = {step[1] for step in steps if step[0] in SPARED}
    timing = next(task for name, task in said.items() if name.startswith("VideoSyncQC"))
    assert {camera.label for camera in timing.cameras if camera.why not in ("nothing to do", "no input")} == worked
    return said, outcome


@pytest.fixture(scope="module")
def folder(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a session; what a test changes in it is mended by its run."""
    folder = tmp_path_factory.mktemp("finished") / "Subjects" / "SW_001" / "2023-05-01" / "001"
    shutil.copytree(_template, folder)
    return folder


@pytest.fixture
def done(folder: Path) -> Path:
    """Return a session that was run."""
    assert run([folder], tasks="VideoSyncQcNidq").is_success
    return folder


def other_wheel(folder: Path) -> None:
    path = next((folder / "alf").glob("*wheel.position.npy"))
    np.save(path, np.load(path) * 1.5)


def gone_file(name: str) -> Any:
    def remove(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def moved_clock(folder: Path) -> None:
    path = folder / "raw_ephys_data" / "_spikeglx_sync.times.npy"
    np.save(path, np.load(path) + 1e-3)


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        (nothing, False),
        (gone_file("alf/_ibl_leftCamera.times.npy"), True),
        (gone_file("ibl_dask/leftCamera-timing.npz"), True),
        (gone_file("ibl_dask/rightCamera-pulse_times.npz"), True),
        (gone_file("ibl_dask/leftCamera-frames.zarr"), True),
        (gone_file("ibl_dask/done/wheel-body.json"), True),
        (gone_file("ibl_dask/done/frames-body.json"), True),
        (other_wheel, True),
        (moved_clock, True),  # the last: times that change become a revision
    ],
    ids=lambda value: getattr(value, "__qualname__", str(value)),
)
def test_of_a_finished_session_a_plan_names_the_cameras_that_a_run_then_works_on(done: Path, change, runs) -> None:
    change(done)
    said, _ = insist_on_agreement(done, tasks=["VideoCompress", "VideoSyncQC_nidq"])
    assert said["VideoSyncQC_nidq"].runs is runs
    again = planned(done, tasks=["VideoSyncQC_nidq"])["VideoSyncQC_nidq"]
    assert not again.runs


def test_the_forecast_in_python_is_that_of_the_plan(done: Path) -> None:
    (done / "ibl_dask" / "qc.json").unlink()
    request = {"tasks": ["VideoSyncQC_nidq"]}
    (task,) = ibd.forecast(done, **request)
    assert task == planned(done, **request)["VideoSyncQC_nidq"]
    assert ibd.forecast(ibd.make_pipeline(done, **request)) == [task]
    with pytest.raises(UsageError, match="has its options already"):
        ibd.forecast(ibd.make_pipeline(done), overwrite=True)


def test_each_step_of_a_run_has_a_plain_row(done: Path) -> None:
    made = run([done], tasks="VideoSyncQcNidq", overwrite=True)
    rows = made.steps()
    assert {(row["camera"], row["status"]) for row in rows if row["step"] == "times"} == {
        (label, "done") for label in ("left", "right", "body")
    }
    assert [row["step"] for row in rows if not row["camera"]] == ["publish", "report"]
    assert {row["session"] for row in rows} == {"SW_001/2023-05-01/001"}
    assert sum(row["seconds"] for row in rows) <= made.seconds
    assert min(row["started_s"] for row in rows) > 1.6e9


def test_checks_that_are_gone_are_made_again_and_a_plan_says_so(done: Path) -> None:
    (done / "ibl_dask" / "qc.json").unlink()
    assert planned(done)["VideoSyncQC_nidq"].runs
    assert run([done], tasks="VideoSyncQcNidq").is_success
    assert (done / "ibl_dask" / "qc.json").exists()


def test_what_a_failed_task_holds_back_waits_in_the_plan_as_in_the_run(session_folder: Path, tmp_path: Path) -> None:
    (session_folder / "raw_video_data" / "_iblrig_rightCamera.raw.mp4").unlink()
    (session_folder / "raw").mkdir()
    (session_folder / "raw" / "in.txt").write_text("hello")
    specs = [
        TaskSpec("VideoCompress", "ibllib.pipes.video_tasks.VideoCompress"),
        TaskSpec("VideoSyncQC_nidq", "ibllib.pipes.video_tasks.VideoSyncQcNidq", {}, ("VideoCompress",)),
        TaskSpec("Later", "elsewhere.Copies", {}, ("VideoSyncQC_nidq",)),
        TaskSpec("Last", "elsewhere.Copies", {}, ("Later",)),
        TaskSpec("VideoRegisterRaw", "ibllib.pipes.video_tasks.VideoRegisterRaw", {}, ("Later",)),
        TaskSpec("Odd", "turn_tasks.Odd"),
        TaskSpec("AfterOdd", "elsewhere.Copies", {}, ("Odd",)),
        TaskSpec("Wrong", "ibllib.pipes.video_tasks.VideoRegisterRaw", {"cameras": ["belly"]}),
        TaskSpec("Unknown", "ibllib.pipes.video_tasks.VideoRegisterRaw", {"camera": "left"}),
    ]
    places = {"ibllib": str(make_environment(tmp_path / "env"))}
    said, _ = insist_on_agreement(session_folder, specs=specs, environments=places)
    assert {name for name, task in said.items() if task.waits} == {"Later", "Last", "VideoRegisterRaw", "AfterOdd"}
    assert {name for name, task in said.items() if task.fails} == {
        "VideoCompress",
        "VideoSyncQC_nidq",
        "Odd",
        "Wrong",
        "Unknown",
    }
    assert "write cameras in place of camera" in said["Unknown"].detail


@pytest.mark.parametrize("options", [{"encoding": "short_gop"}, {"encoding": "ibl_bpod", "overwrite": True}])
def test_a_plan_takes_the_options_of_a_run(raw_session: Path, options: dict[str, Any]) -> None:
    detail = planned(raw_session, **options)["VideoCompress"].detail
    assert f"to compress ({options['encoding']})" in detail
