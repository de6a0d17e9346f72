"""`run_alyx_task`, `tasks_runner` and `Pipeline`, as scripts of the field call them."""

from __future__ import annotations

from pathlib import Path

import pytest
import told_tasks
from alyx_passes import PLACE, one_pass
from described import described
from fake_alyx import PNG
from seven_tasks import MENDED

from ibl_dask.alyx import local_server
from ibl_dask.alyx.results import RERUN
from ibl_dask.alyx.run_task import run_alyx_task
from ibl_dask.alyx.serve import Server
from ibl_dask.pipes import dynamic_pipeline, tasks


@pytest.fixture(autouse=True)
def _site(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("IBL_DASK_TASK_PACKAGES", "seven_tasks,told_tasks")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("IBL_DASK_ALYX_REPOSITORY", raising=False)


@pytest.fixture
def session(fake, tmp_path: Path) -> tuple[Path, str]:
    """Return the folder of a session and its identifier."""
    return described(tmp_path, "SW_001/2026-11-20/001"), fake.world.add_session("SW_001")


def row_of(fake, eid: str, name: str, **fields: object) -> dict:
    module = "told_tasks" if hasattr(told_tasks, name) else "seven_tasks"
    return fake.world.tasks[fake.world.add_task(eid, name, executable=f"{module}.{name}", **fields)]


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_a_server_makes_three_requests_a_task_at_most(fake, alyx, tmp_path: Path, monkeypatch, pause_s) -> None:
    monkeypatch.setattr("ibl_dask.alyx.outbox.INTERVAL_S", 0.02)  # several passes while the tasks of a session run
    for number in (1, 2, 3):
        described(tmp_path, f"SW_001/2026-11-20/{number:03}")
        eid = fake.world.add_session("SW_001", number=number)
        for n in range(8):
            arguments = {"n": n, "pause_s": pause_s}
            fake.world.add_task(eid, f"Task{n}", executable="told_tasks.TaskOfNumber", arguments=arguments)
    subjects = tmp_path / "Subjects"
    server = Server(alyx, PLACE, subjects, subjects / ".ibl_dask", frozenset({"told_tasks"}), creates=False)
    server.serve(once=True)
    assert [row["status"] for row in fake.world.tasks.values()] == ["Complete"] * 24
    assert {row["n_times"] for row in fake.world.datasets.values()} == {1}
    assert len(fake.world.datasets) == 24
    assert fake.n_requests() / 24 <= 3.0
    assert fake.n_requests("POST", "/register-file") == 3


# -- logs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["run_alyx_task", "tasks_runner", "Pipeline"])
def test_the_log_of_an_earlier_attempt_stays_before_the_new_one_if_it_is_to(fake, alyx, session, way) -> None:
    path, eid = session
    row = row_of(fake, eid, "TaskFails", log="an earlier attempt")

    def run(clobber: bool) -> str:
        row["status"] = "Waiting"
        if way == "run_alyx_task":
            run_alyx_task(dict(row), path, alyx, clobber=clobber)
        elif way == "tasks_runner":
            local_server.tasks_runner(path.parents[2], [dict(row)], alyx, clobber=clobber)
        else:
            tasks.Pipeline(path, alyx).run(clobber=clobber)
        assert row["status"] == "Errored"
        return row["log"]

    log = run(clobber=False)
    before, _, after = log.partition(f"\n\n{RERUN}\n")
    assert before == "an earlier attempt"
    assert "something dumb happened" in after
    assert run(clobber=False).count(RERUN) == 2
    assert "claim" not in row["log"]
    assert RERUN not in run(clobber=True)


# -- outcomes ---------------------------------------------------------------------------------------------------------


def test_a_task_whose_files_are_not_registered_raises_if_it_is_to(fake, alyx, session) -> None:
    path, eid = session
    row = row_of(fake, eid, "TaskUnknown")
    with pytest.raises(ValueError, match=r"no.suchtype.npy"):
        run_alyx_task(dict(row), path, alyx, mode="raise")
    assert row["status"] == "Errored"
    assert run_alyx_task(dict(row), path, alyx)[0]["status"] == "Errored"


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_a_deck_of_any_kind_is_read_and_its_row_changed(fake, alyx, session, kind) -> None:
    path, eid = session
    row = row_of(fake, eid, "TaskDone")
    deck = [dict(row)]

    class Paginated:
        """As ONE's lazy lists: with a length and items, and no list."""

        def __len__(self):
            return len(deck)

        def __getitem__(self, at):
            return deck[at]

    given = Paginated() if kind is iter else kind(deck)
    _, datasets = run_alyx_task(dict(row), path, alyx, job_deck=given)
    assert deck[0]["status"] == "Complete"
    assert {"id", "name", "file_size", "collection", "revision", "file_records", "path"} <= datasets[0].keys()


def test_every_door_returns_the_records_of_datasets(fake, alyx, session) -> None:
    path, eid = session
    row_of(fake, eid, "TaskDone")
    _, ours = tasks.Pipeline(path, alyx).run()
    row_of(fake, eid, "TaskIncomplete")
    queue = local_server.task_queue(lab="cortexlab", alyx=alyx)
    ours += local_server.tasks_runner(path.parents[2], queue, alyx)
    assert [each["name"] for each in ours] == ["wheel.position.npy"] * 2
    assert all(each["file_records"] for each in ours)


# -- repositories -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["variable", "globus", "none"])
def test_rows_of_a_pipeline_get_the_repository_of_this_server(
    fake, alyx, session, tmp_path: Path, monkeypatch, way
) -> None:
    path, _ = session
    if way == "variable":
        monkeypatch.setenv("IBL_DASK_ALYX_REPOSITORY", "cortexlab_local")
    elif way == "globus":
        file = tmp_path / ".globusonline/lta/client-id.txt"
        file.parent.mkdir(parents=True)
        file.write_text(fake.world.repositories["cortexlab_local"]["globus_endpoint_id"])
    pipe = dynamic_pipeline.make_pipeline(path, one=alyx)
    rows = pipe.create_alyx_tasks(tasks_list=[{"name": "TaskDone", "executable": "seven_tasks.TaskDone"}])
    assert rows[0]["data_repository"] == (None if way == "none" else "cortexlab_local")
    deck, datasets = pipe.run()
    assert [row["status"] for row in deck] == ["Complete"]
    assert [each["path"] for each in datasets] == ["alf/TaskDone/wheel.position.npy"]


def test_rows_of_several_repositories_are_run_with_their_own(fake, alyx, session) -> None:
    path, eid = session
    places = ("cortexlab_local", "flatiron_cortexlab", None)
    rows = [
        row_of(fake, eid, "TaskOfNumber", arguments={"n": n}, data_repository=place) for n, place in enumerate(places)
    ]
    found = local_server.tasks_runner(path.parents[2], rows, alyx, count=10)
    assert len(found) == 3
    assert {row["status"] for row in rows} == {"Complete"}
    locks = {file.name for file in (path.parents[2] / ".ibl_dask").glob("alyx-*.lock.json*")}
    assert all(name.startswith("alyx-") for name in locks)


def test_a_repository_that_is_no_name_is_refused(fake, alyx, session) -> None:
    path, eid = session
    row = row_of(fake, eid, "TaskDone", data_repository="x/../../../../evil/y")
    with pytest.raises(local_server.UsageError, match="no name of a data repository"):
        local_server.tasks_runner(path.parents[2], [row], alyx)


def test_a_queue_without_a_known_lab_is_none_as_in_the_reference(fake, alyx, caplog) -> None:
    assert local_server.task_queue(alyx=alyx) is None
    assert "neither a data repository nor a lab is named" in caplog.text
    with pytest.raises(local_server.UsageError, match="no lab has this data repository"):
        local_server.task_queue(alyx=alyx, repository="somewhere")


def test_the_health_of_a_server_is_noted_wherever_its_subjects_are(fake, alyx, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IBL_DASK_ALYX_REPOSITORY", "cortexlab_local")
    monkeypatch.setenv("IBL_DASK_SUBJECTS", str(tmp_path / "absent"))
    monkeypatch.setattr(local_server, "FIELD_SUBJECTS", tmp_path / "nor this")
    with pytest.raises(local_server.UsageError, match="IBL_DASK_SUBJECTS"):
        local_server.report_health(alyx)
    (tmp_path / "absent").mkdir()
    local_server.report_health(alyx)
    assert fake.world.repositories["cortexlab_local"]["json"]["raid_volume"] == str(tmp_path / "absent")


# -- what a task is told ----------------------------------------------------------------------------------------------


def test_a_task_is_told_of_its_caller(fake, alyx, session) -> None:
    path, eid = session
    row = row_of(fake, eid, "TaskTells")
    log = run_alyx_task(dict(row), path, alyx, machine="rig 4")[0]["log"]
    assert f"one Alyx, taskid {row['id']}, machine rig 4, location server" in log
    assert "Running on machine: rig 4" in log


@pytest.mark.parametrize("way", ["run_alyx_task", "queue"])
def test_a_row_does_not_decide_on_folders_and_callers(fake, alyx, session, tmp_path: Path, way) -> None:
    path, eid = session
    arguments = {
        "scratch_folder": str(tmp_path / "a"),
        "work_dir": str(tmp_path / "b"),
        "output_root": str(tmp_path / "c"),
        "one": "me",
        "taskid": "x",
        "location": "sdsc",
        "data_handler_class": "os.system",
        "parents": [],
    }
    row = row_of(fake, eid, "TaskTells", arguments=arguments)
    if way == "queue":
        one_pass(alyx, path.parents[2])
    else:
        run_alyx_task(dict(row), path, alyx)
    assert row["status"] == "Complete", row["log"]
    assert f"scratch {path.parents[2] / '.ibl_dask'}, output None" in row["log"]
    assert not [name for name in "abc" if (tmp_path / name).exists()]


def test_a_row_does_not_decide_that_raw_videos_are_removed() -> None:
    from ibl_dask.alyx.task_row import TaskRow

    key = "f9502295-bd4c-4643-99a6-99278d7d75ac"
    content = {
        "id": key, "session": key, "name": "VideoCompress", "status": "Waiting",
        "executable": "ibllib.pipes.video_tasks.VideoCompress",
        "arguments": {"cameras": ["left"], "raw_video": "delete"},
    }  # fmt: skip
    assert TaskRow.read(content).spec().arguments == {"cameras": ["left"]}


@pytest.mark.parametrize("way", ["run_alyx_task", "queue"])
def test_snapshots_that_a_lab_s_task_registers_become_notes(fake, alyx, session, way) -> None:
    path, eid = session
    for collection in ("raw_imaging_data_00", "raw_imaging_data_01", ""):
        folder = path / collection / "snapshots"
        folder.mkdir(parents=True)
        (folder / "window.png").write_bytes(PNG)
        (folder / "window.txt").write_text(f"the window of {collection or 'the session'}")
    row = row_of(fake, eid, "SnapshotsRegisterRaw")
    for _ in range(2):
        row["status"] = "Waiting"
        if way == "queue":
            one_pass(alyx, path.parents[2])
        else:
            run_alyx_task(dict(row), path, alyx)
        assert row["status"] == "Complete", row["log"]
        assert sorted(note["text"] for note in fake.world.notes.values()) == [
            "the window of raw_imaging_data_00",
            "the window of raw_imaging_data_01",
            "the window of the session",
        ]
    assert (path / "snapshots" / "window.png").exists()


def test_the_matrix_of_statuses_after_a_rerun_by_the_queue(fake, alyx, tmp_path: Path) -> None:
    from seven_tasks import SEVEN

    path = described(tmp_path, "SW_001/2026-11-20/001")
    eid = fake.world.add_session("SW_001")
    ids: dict[str, str] = {}
    for name, parents in SEVEN.items():
        ids[name] = row_of(fake, eid, name, parents=[ids[p] for p in parents], level=int(bool(parents)))["id"]
    one_pass(alyx, path.parents[2])
    (path / MENDED).touch()
    rerun = ("Waiting", "Held", "Started", "Errored", "Empty")
    for row in fake.world.tasks.values():
        if row["status"] in rerun:
            row["status"] = "Waiting"
    one_pass(alyx, path.parents[2])
    assert {name: fake.world.tasks[key]["status"] for name, key in ids.items()} == {
        "TaskDone": "Complete",
        "TaskEmpty": "Empty",
        "TaskFails": "Complete",
        "TaskIncomplete": "Incomplete",
        "TaskLocked": "Waiting",
        "ChildOfDone": "Complete",
        "ChildOfFailed": "Complete",
    }
