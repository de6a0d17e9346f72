"""Flagged sessions become sessions and tasks of Alyx, once, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from fake_alyx import FakeAlyx
from flagged import flagged

from ibl_dask.alyx import job_creator
from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.job_creator import Creation, create_jobs
from ibl_dask.alyx.readiness import reason_to_wait
from ibl_dask.errors import AlyxUnreachable, SessionLocked
from ibl_dask.model.legacy_protocols import legacy_content
from ibl_dask.model.session import Session
from ibl_dask.store.lock import holding

TASKS = [
    "ExperimentDescriptionRegisterRaw",
    "RegisterRaw_trainingChoiceWorld_00",
    "Trials_trainingChoiceWorld_00",
    "TrainingStatus_trainingChoiceWorld_00",
    "VideoRegisterRaw",
    "VideoCompress",
    "VideoSyncQC_bpod",
    "AudioRegisterRaw",
]


@pytest.fixture
def subjects(tmp_path: Path) -> Path:
    return tmp_path / "Subjects"


def create(subjects: Path, alyx: Alyx, **options) -> dict[str, Creation]:
    options = {"settled_s": 0.0, "repository": "cortexlab_local", **options}
    return {"/".join(each.path.parts[-3:]): each for each in create_jobs(subjects, alyx, **options)}


def rows(fake: FakeAlyx) -> dict[str, dict]:
    return {row["name"]: row for row in fake.world.tasks.values()}


def changes(fake: FakeAlyx) -> int:
    return sum(method not in ("GET",) for method, *_ in fake.requests)


def test_a_flagged_session_becomes_a_session_and_its_tasks(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects)
    made = create(subjects, alyx)["TST_001/2026-11-20/001"]
    assert (made.state, made.n_new) == ("created", len(TASKS))
    (session,) = fake.world.sessions.values()
    wanted = {
        "subject": "TST_001", "users": ["test_user"], "location": "_iblrig_cortexlab_behavior_0", "number": 1,
        "procedures": ["Behavior training/tasks"], "lab": "cortexlab", "projects": ["ibl_dask_project"],
        "task_protocol": "_iblrig_tasks_trainingChoiceWorld5.0.0", "start_time": "2026-11-20T12:15:18.145140",
        "end_time": "2026-11-20T12:17:18.145140", "n_trials": 12, "n_correct_trials": 5,
        "json": {"IS_MOCK": False, "IBLRIG_VERSION": "5.0.0"},
    }  # fmt: skip
    assert {key: session[key] for key in wanted} == wanted
    found = rows(fake)
    assert set(found) == set(TASKS)
    assert {row["status"] for row in found.values()} == {"Waiting"}
    assert all(row["arguments"] is not None and row["data_repository"] == "cortexlab_local" for row in found.values())
    assert found["VideoSyncQC_bpod"]["parents"] == [found["VideoCompress"]["id"]]
    assert found["VideoCompress"]["executable"] == "ibllib.pipes.video_tasks.VideoCompress"
    assert not (path / "raw_session.flag").exists()


@pytest.mark.parametrize("writes", ["its flag", "the description"])
def test_a_computer_that_ends_its_transfer_meanwhile_keeps_its_flag(
    fake, alyx, subjects: Path, monkeypatch, writes: str
) -> None:
    flag = flagged(subjects) / "raw_session.flag"
    description = flag.with_name("_ibl_experiment.description.yaml")
    register = job_creator.register_tasks

    def meanwhile(*arguments, **options):
        path = flag if writes == "its flag" else description
        path.write_text(path.read_text() + "\n")
        return register(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(job_creator, "register_tasks", meanwhile)
        create(subjects, alyx)
    assert flag.exists()
    create(subjects, alyx)
    assert not flag.exists()


def test_a_second_run_changes_nothing_and_undoes_no_claim(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects)
    create(subjects, alyx)
    claimed = rows(fake)["VideoCompress"]
    claimed["status"], claimed["log"] = "Started", "of somebody"
    (path / "raw_session.flag").touch()
    before = json.dumps([fake.world.sessions, fake.world.tasks]), changes(fake)
    made = create(subjects, alyx)["TST_001/2026-11-20/001"]
    assert made.state == "unchanged"
    assert (json.dumps([fake.world.sessions, fake.world.tasks]), changes(fake)) == before
    assert not (path / "raw_session.flag").exists()


def test_rerun_sets_rows_back_but_not_those_that_run_or_are_abandoned(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects)
    create(subjects, alyx)
    for name, status in (
        ("VideoCompress", "Started"),
        ("AudioRegisterRaw", "Abandoned"),
        ("VideoRegisterRaw", "Complete"),
    ):
        rows(fake)[name]["status"] = status
    (path / "raw_session.flag").touch()
    create(subjects, alyx, rerun=True)
    found = {name: row["status"] for name, row in rows(fake).items()}
    assert found["VideoCompress"] == "Started"
    assert found["AudioRegisterRaw"] == "Abandoned"
    assert found["VideoRegisterRaw"] == "Waiting"


def test_the_bad_session_is_reported_and_the_others_go_on(fake, alyx, subjects: Path) -> None:
    fake.world.subjects.pop("TST_002")
    bad = {
        "TST_001/2026-11-19/001": flagged(subjects, date="2026-11-19", description="{"),
        "TST_001/2026-11-20/002": flagged(subjects, number="002", SUBJECT_NAME="somebody else"),
        "TST_002/2026-11-20/001": flagged(subjects, "TST_002"),
    }  # fmt: skip
    good = flagged(subjects, date="2026-11-21")
    made = create(subjects, alyx)
    assert made["TST_001/2026-11-21/001"].state == "created"
    assert not (good / "raw_session.flag").exists()
    for reference in bad:
        assert made[reference].state == "failed", reference
        assert made[reference].failure is not None
        assert made[reference].failure.do
        assert (bad[reference] / "raw_session.flag").exists()
    assert "SUBJECT_NAME is somebody else" in str(made["TST_001/2026-11-20/002"].failure.message)


def test_a_session_that_is_still_copied_waits(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects)
    assert create(subjects, alyx, settled_s=60.0)["TST_001/2026-11-20/001"].state == "waiting"
    (path / "raw_video_data" / "_iblrig_leftCamera.raw.avi").unlink()
    made = create(subjects, alyx)["TST_001/2026-11-20/001"]
    assert made.state == "waiting"
    assert "video of the left camera" in made.reason
    assert not fake.world.sessions
    assert create(subjects, alyx, patience_s=60.0)["TST_001/2026-11-20/001"].state == "created"


def test_a_session_on_which_alyx_fails_again_and_again_keeps_no_other_from_being_created(
    fake, alyx, subjects: Path
) -> None:
    bad, good = flagged(subjects, "SW_001"), flagged(subjects, "TST_001")
    fake.world.add_subject("SW_001")
    fake.faults.plan("500", "GET", "/subjects/SW_001", times=10**6)
    made = create(subjects, alyx)
    assert made["SW_001/2026-11-20/001"].state == "failed"
    assert "status 500" in made["SW_001/2026-11-20/001"].failure.message
    assert made["TST_001/2026-11-20/001"].state == "created"
    assert (bad / "raw_session.flag").exists()
    assert not (good / "raw_session.flag").exists()


@pytest.mark.parametrize("kind", ["500", "throttle"])
def test_an_alyx_that_fails_as_a_whole_or_asks_to_wait_ends_the_search(fake, alyx, subjects: Path, kind: str) -> None:
    paths = [flagged(subjects, "TST_001"), flagged(subjects, "TST_002")]
    fake.faults.retry_after = "600"
    fake.faults.plan(kind, times=10**6)
    with pytest.raises(AlyxUnreachable):
        create(subjects, alyx)
    assert all((path / "raw_session.flag").exists() for path in paths)


def test_a_row_without_a_status_keeps_no_session_from_its_tasks(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects)
    create(subjects, alyx)
    (eid,) = fake.world.sessions
    broken = fake.world.add_task(eid, "Broken", status=10)
    lost = rows(fake)["VideoCompress"]["id"]
    del fake.world.tasks[lost]
    (path / "raw_session.flag").touch()
    made = create(subjects, alyx)["TST_001/2026-11-20/001"]
    assert (made.state, made.n_new) == ("created", 1)
    assert not (path / "raw_session.flag").exists()
    # A rival makes the row between the list and its own request.
    del fake.world.tasks[rows(fake)["VideoCompress"]["id"]]
    (path / "raw_session.flag").touch()
    fake.faults.plan("drop_after", "POST", "/tasks")
    made = create(subjects, alyx)["TST_001/2026-11-20/001"]
    assert made.state in ("created", "unchanged")
    assert broken in fake.world.tasks


def test_a_file_that_goes_away_meanwhile_is_a_copy_in_progress(fake, alyx, subjects: Path, monkeypatch) -> None:
    path = flagged(subjects)
    part = path / "raw_video_data" / "_iblrig_leftCamera.raw.avi.part"
    part.touch()
    usual = os.walk

    def listed(*args):
        for folder, names, files in usual(*args):
            if part.name in files:
                part.unlink()  # renamed by the copying program, after the folder was listed
            yield folder, names, files

    monkeypatch.setattr("ibl_dask.alyx.readiness.os.walk", listed)
    made = create(subjects, alyx, settled_s=60.0)["TST_001/2026-11-20/001"]
    assert made.state == "waiting"
    assert "still being copied" in made.reason


def test_files_that_a_clock_ahead_of_ours_has_dated_keep_no_session_for_ever(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects)
    ahead_s = time.time() + 7 * 24 * 3600
    for file in [*path.rglob("*.avi"), path / "raw_session.flag"]:
        os.utime(file, (ahead_s, ahead_s))
    assert create(subjects, alyx)["TST_001/2026-11-20/001"].state == "created"


def test_a_disk_whose_clock_is_ahead_is_waited_for_no_longer_than_others(subjects: Path, monkeypatch) -> None:
    path = flagged(subjects, age_s=2 * 3600)
    monkeypatch.setattr("ibl_dask.alyx.readiness.newest_change_s", lambda _: time.time() + 3600)
    ask = partial(reason_to_wait, Session(path), path / "raw_session.flag")
    assert "still being copied" in ask(patience_s=3 * 3600)
    assert ask(patience_s=3600) == ""


def test_a_flag_that_is_taken_away_meanwhile_is_no_failure(subjects: Path) -> None:
    path = flagged(subjects)
    (path / "raw_session.flag").unlink()
    assert "taken away" in reason_to_wait(Session(path), path / "raw_session.flag")


def test_a_session_without_description_gets_the_one_of_its_protocol(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects, description=None)
    assert create(subjects, alyx)["TST_001/2026-11-20/001"].state == "created"
    assert "trainingChoiceWorld" in (path / "_ibl_experiment.description.yaml").read_text()
    assert "VideoSyncQC_bpod" in rows(fake)


def test_the_project_of_an_inferred_description_is_not_that_of_the_session(fake, alyx, subjects: Path) -> None:
    """Rigs of that time were those of one project, and the description that stands for them names it."""
    path = flagged(subjects, description=None)
    created = create(subjects, alyx)["TST_001/2026-11-20/001"]
    assert (created.state, created.failure) == ("created", None)
    (session,) = fake.world.sessions.values()
    assert session["projects"] == ["ibl_dask_project"]
    assert "ibl_neuropixel_brainwide_01" in (path / "_ibl_experiment.description.yaml").read_text()

    fake.world.projects.add("another")
    session["projects"] = ["another"]  # as a person corrected it
    (path / "raw_session.flag").touch()
    assert create(subjects, alyx)["TST_001/2026-11-20/001"].state == "unchanged"
    assert session["projects"] == ["another"]


def test_an_inferred_description_is_written_only_once_alyx_has_the_session(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects, description=None)
    fake.world.locations.clear()
    failed = create(subjects, alyx)["TST_001/2026-11-20/001"]
    assert failed.state == "failed"
    assert "location" in failed.failure.message
    assert not (path / "_ibl_experiment.description.yaml").exists()
    fake.world.locations.add("_iblrig_cortexlab_behavior_0")
    assert create(subjects, alyx)["TST_001/2026-11-20/001"].state == "created"
    assert [session["projects"] for session in fake.world.sessions.values()] == [["ibl_dask_project"]]


def test_the_projects_that_an_experimenter_described_count(fake, alyx, subjects: Path) -> None:
    fake.world.projects.add("ibl_neuropixel_brainwide_01")
    path = flagged(subjects, description=None)
    content = legacy_content("_iblrig_tasks_trainingChoiceWorld")
    text = yaml.safe_dump({**content, "procedures": [], "version": "1.0.0"})
    (path / "_ibl_experiment.description.yaml").write_text(text)
    create(subjects, alyx)
    assert [row["projects"] for row in fake.world.sessions.values()] == [["ibl_neuropixel_brainwide_01"]]


def test_a_dry_run_names_sessions_and_changes_nothing(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects)
    flagged(subjects, "test")
    assert {each.state for each in create(subjects, alyx, dry=True).values()} == {"found"}
    assert not fake.requests
    assert (path / "raw_session.flag").exists()


def test_lost_answers_make_no_second_row(fake, alyx, subjects: Path) -> None:
    flagged(subjects)
    fake.faults.plan("drop_after", "POST", "/sessions")
    fake.faults.plan("drop_after", "POST", "/tasks", times=3)
    assert create(subjects, alyx)["TST_001/2026-11-20/001"].state == "created"
    assert len(fake.world.sessions) == 1
    assert sorted(row["name"] for row in fake.world.tasks.values()) == sorted(TASKS)


def test_an_alyx_that_is_away_leaves_the_flag(fake, alyx, subjects: Path) -> None:
    path = flagged(subjects)
    fake.stop()
    with pytest.raises(AlyxUnreachable):
        create(subjects, alyx)
    assert (path / "raw_session.flag").exists()
    fake.start()
    assert create(subjects, alyx)["TST_001/2026-11-20/001"].state == "created"


def test_one_writer_creates_sessions(fake, alyx, subjects: Path) -> None:
    flagged(subjects)
    (subjects / ".ibl_dask").mkdir()
    with holding(subjects / ".ibl_dask" / "alyx-creator.lock.json"), pytest.raises(SessionLocked):
        create(subjects, alyx)
    assert not fake.world.sessions


def test_rivals_create_one_session(fake, alyx, subjects: Path) -> None:
    flagged(subjects)
    outcomes: list[object] = []

    def work() -> None:
        try:
            outcomes.append(create(subjects, alyx))
        except SessionLocked as error:
            outcomes.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4
    assert len(fake.world.sessions) == 1
    assert len(fake.world.tasks) == len(TASKS)


def test_a_recorded_session_becomes_the_row_that_the_reference_made_of_it(
    fake, alyx, subjects: Path, data_folder: Path
) -> None:
    """Protocol, trials and duration are those of the recorded `POST /sessions` for this recording."""
    path = subjects / "_iblrig_test_mouse" / "2019-07-01" / "001"
    shutil.copytree(data_folder / "bpod" / "session_training_ge5", path)
    (path / "raw_session.flag").touch()
    fake.world.add_subject("_iblrig_test_mouse")
    fake.world.locations.add("_iblrig_mainenlab_ephys_0")
    made = create(subjects, alyx, patience_s=0.0)["_iblrig_test_mouse/2019-07-01/001"]
    assert made.state == "created", made
    (session,) = fake.world.sessions.values()
    assert session["task_protocol"] == "_iblrig_tasks_trainingChoiceWorld5.0.0"
    assert (session["n_trials"], session["n_correct_trials"]) == (12, 6)
    assert (session["start_time"], session["end_time"]) == ("2019-07-01T12:15:18.145140", "2019-07-01T12:17:06.322242")
    assert session["json"] == {"IS_MOCK": False, "IBLRIG_VERSION": "5.0.0", "POOP_COUNT": 1}
    assert "VideoSyncQC_bpod" in rows(fake)
