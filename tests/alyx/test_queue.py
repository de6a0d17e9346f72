"""The queue, end to end: rows of a fake Alyx are claimed, run and ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from alyx_passes import one_pass
from described import described
from seven_tasks import MENDED, SEVEN

from ibl_dask.alyx import local_server
from ibl_dask.alyx.session_pipeline import Pipeline


@pytest.fixture(autouse=True)
def _packages(monkeypatch):
    monkeypatch.setenv("IBL_DASK_TASK_PACKAGES", "seven_tasks")


@pytest.fixture
def subjects(tmp_path: Path) -> Path:
    return tmp_path / "Subjects"


@pytest.fixture
def seven(fake, tmp_path):
    """A session with the seven little tasks: its folder and their identifiers by name."""
    path = described(tmp_path, "SW_001/2026-11-20/001")
    eid = fake.world.add_session("SW_001")
    ids: dict[str, str] = {}
    for level, (name, parents) in enumerate(SEVEN.items()):
        ids[name] = fake.world.add_task(
            eid, name, executable=f"seven_tasks.{name}", parents=[ids[p] for p in parents], level=level // 5
        )
    return path, ids


def statuses(fake, ids: dict[str, str]) -> dict[str, str]:
    return {name: fake.world.tasks[key]["status"] for name, key in ids.items()}


FIRST = {
    "TaskDone": "Complete",
    "TaskEmpty": "Empty",
    "TaskFails": "Errored",
    "TaskIncomplete": "Incomplete",
    "TaskLocked": "Waiting",
    "ChildOfDone": "Complete",
    "ChildOfFailed": "Held",
}


def test_seven_tasks_end_in_the_states_of_the_reference(fake, alyx, seven, subjects: Path) -> None:
    _, ids = seven
    one_pass(alyx, subjects)
    assert statuses(fake, ids) == FIRST
    assert "something dumb happened" in fake.world.tasks[ids["TaskFails"]]["log"]
    done = fake.world.tasks[ids["TaskDone"]]
    assert done["version"]
    assert done["time_elapsed_secs"] is not None
    assert fake.world.files_of(done["session"]) == [
        f"alf/{name}/wheel.position.npy" for name in ("ChildOfDone", "TaskDone", "TaskIncomplete")
    ]


def test_a_held_child_is_released_once_its_parent_was_mended(fake, alyx, seven, subjects: Path) -> None:
    path, ids = seven
    one_pass(alyx, subjects)
    (path / MENDED).touch()
    fake.world.tasks[ids["TaskFails"]]["status"] = "Waiting"  # as a person does in Alyx
    one_pass(alyx, subjects)
    assert statuses(fake, ids)["TaskFails"] == "Complete"
    one_pass(alyx, subjects)
    assert statuses(fake, ids) == {**FIRST, "TaskFails": "Complete", "ChildOfFailed": "Complete"}


def test_a_pipeline_runs_and_reruns_its_rows_as_the_reference_does(fake, alyx, seven) -> None:
    path, ids = seven
    pipeline = Pipeline(path, alyx)
    deck, datasets = pipeline.run()
    assert statuses(fake, ids) == FIRST
    assert {row["name"]: row["status"] for row in deck} == FIRST
    assert sorted(each["path"] for each in datasets) == fake.world.files_of(pipeline.eid)
    (path / MENDED).touch()
    deck, _ = pipeline.rerun_failed()
    assert statuses(fake, ids) == {**FIRST, "TaskFails": "Complete", "ChildOfFailed": "Complete"}


def test_a_runner_of_a_list_runs_as_many_as_it_is_asked_for(fake, alyx, seven, subjects: Path, capsys) -> None:
    _, ids = seven
    queue = local_server.task_queue(lab="cortexlab", alyx=alyx, repository="cortexlab_local")
    assert {row["name"] for row in queue} == set(SEVEN)
    assert local_server.tasks_runner(subjects, queue, alyx, dry=True) == []
    assert "SW_001/2026-11-20/001 TaskDone" in capsys.readouterr().out
    assert set(statuses(fake, ids).values()) == {"Waiting"}
    datasets = local_server.tasks_runner(subjects, queue, alyx, count=1)
    assert len(datasets) == 1
    local_server.tasks_runner(subjects, queue, alyx, count=10)
    assert statuses(fake, ids) == FIRST


def test_the_description_is_registered_by_the_coordinator(fake, alyx, subjects: Path, tmp_path: Path) -> None:
    described(tmp_path, "SW_001/2026-11-20/001", tasks="tasks:\n  - choiceWorld: {collection: raw_task_data_00}\n")
    eid = fake.world.add_session("SW_001", json={"IS_MOCK": False, "sign_off_checklist": {"_cameras_left": "seen"}})
    key = fake.world.add_task(
        eid, "ExperimentDescriptionRegisterRaw", executable="ibllib.pipes.base_tasks.ExperimentDescriptionRegisterRaw"
    )
    feed, _ = one_pass(alyx, subjects)
    assert feed.n_registered == 1
    assert fake.world.tasks[key]["status"] == "Complete"
    assert fake.world.files_of(eid) == ["_ibl_experiment.description.yaml"]
    checklist = {"_cameras_left": "seen", "_choiceWorld_00": None}
    assert fake.world.sessions[eid]["json"] == {"IS_MOCK": False, "sign_off_checklist": checklist}
