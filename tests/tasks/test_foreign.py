"""Tasks of another package, in a process of their own environment."""

import ast
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from other_environment import make_environment

import ibl_dask as ibd
from ibl_dask.errors import MissingEnvironment
from ibl_dask.model.session import Session
from ibl_dask.model.shell_names import shell_fault
from ibl_dask.model.status import Status
from ibl_dask.model.task import TaskSpec
from ibl_dask.store.lock import Attempt
from ibl_dask.tasks.catalogue import environment_of
from ibl_dask.tasks.external.environments import Environments
from ibl_dask.tasks.external.task import ForeignTask
from ibl_dask.tasks.registry import build_task, find_task
from ibl_dask.tasks.run_step import run_step


@pytest.fixture
def session(tmp_path) -> Session:
    folder = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "in.txt").write_text("hello")
    return Session(folder)


@pytest.fixture
def environments(tmp_path) -> Environments:
    make_environment(tmp_path / "env dir")  # an environment may stand in a folder with a blank in its name
    return Environments({"ibllib": str(tmp_path / "env dir")})


def foreign(session, environments, name, **arguments):
    spec = TaskSpec(f"{name}_00", f"elsewhere.{name}", arguments)
    task = build_task(spec, session, environments=environments)
    assert type(task) is ForeignTask
    return task


def test_it_runs_on_files_alone_and_its_home_and_folder_are_not_the_user_s(session, environments):
    task = foreign(session, environments, "Copies", threshold=3, where="a* b")
    task.force = True
    assert task.run() == 0
    assert (task.state, task.name) == (Status.COMPLETE, "Copies_00")
    out = session.path / "alf" / "out.txt"
    assert task.outputs == [out]
    text, kwargs, location, force, home, here = ast.literal_eval(out.read_text())
    assert (text, kwargs, location, force) == ("hello", {"threshold": 3, "where": "a* b"}, "local", True)
    assert home == here != str(Path.home())
    assert not Path(home).exists()
    assert "copied" in task.log
    assert "said aloud" in task.log
    (log,) = (session.own / "logs" / "Copies_00").iterdir()
    assert log.read_text() in task.log


def test_what_was_done_is_kept_until_anything_it_read_made_or_was_given_changes(session, environments):
    def runs(**arguments):
        task = foreign(session, environments, "Copies", **arguments)
        assert task.run() == 0
        assert task.outputs == [session.path / "alf" / "out.txt"]
        return len((session.path / "runs.txt").read_text())

    assert [runs(), runs()] == [1, 1]
    assert [runs(a=1), runs(a=1)] == [2, 2]
    (session.path / "raw" / "in.txt").write_text("hello again")
    assert [runs(a=1), runs(a=1)] == [3, 3]
    (session.path / "alf" / "out.txt").unlink()
    assert [runs(a=1), runs(a=1)] == [4, 4]
    (session.own / "done" / "task-Copies_00.json").write_text("{")
    assert runs(a=1) == 5
    forced = foreign(session, environments, "Copies", a=1)
    forced.force = True
    assert forced.run() == 0
    assert len((session.path / "runs.txt").read_text()) == 6


def test_before_it_runs_it_says_whether_it_would_and_why(session, environments):
    def why(**arguments):
        review = foreign(session, environments, "Copies", **arguments).review()
        before = (session.path / "runs.txt").read_text() if (session.path / "runs.txt").exists() else ""
        is_same = foreign(session, environments, "Copies", **arguments).run() == 0 and (
            (session.path / "runs.txt").read_text() == before
        )
        assert is_same == (review.why == "nothing to do"), "it does what it said"
        return review.why, review.detail

    out, read = session.path / "alf" / "out.txt", session.path / "raw" / "in.txt"
    assert why()[0] == "no record"
    assert why()[0] == "nothing to do"
    assert why(a=1)[0] == "changed parameters"
    read.write_text("hello again")
    assert why(a=1) == ("changed input", "since it was done, other files are there: in.txt")
    out.unlink()
    assert why(a=1) == ("missing output", "it made what is gone: out.txt")
    out.write_text("by another program")
    assert why(a=1) == ("changed output", "another program changed what it made: out.txt")
    assert why(a=1)[0] == "nothing to do"
    forced = foreign(session, environments, "Copies", a=1)
    forced.force = True
    assert forced.review().why == "forced"


def test_what_does_not_say_what_it_reads_runs_each_time(session, environments):
    task = foreign(session, environments, "Empty")
    assert task.run() == 0
    again = foreign(session, environments, "Empty").review()
    assert (again.why, again.detail) == ("no record", "it does not say what it reads, so it runs each time")


def test_what_the_session_s_own_results_hold_is_no_input_of_it(session, environments):
    assert foreign(session, environments, "Copies").run() == 0
    copy = session.own / "raw" / "in.txt"
    copy.parent.mkdir(parents=True)
    copy.write_text("a copy")
    assert foreign(session, environments, "Copies").review().why == "nothing to do"


def test_nothing_to_do_is_empty_and_not_complete(session, environments):
    task = foreign(session, environments, "Empty")
    assert task.run() == 0
    assert (task.state, task.outputs) == (Status.EMPTY, None)


@pytest.mark.parametrize("name", ["Forgets", "LeavesNothingInIt"])
def test_without_the_outputs_that_it_promised_it_is_not_complete(session, environments, name):
    task = foreign(session, environments, name)
    assert task.run() == -1
    (failure,) = task.failures
    assert failure.category == "bug"
    assert "did not leave its outputs" in failure.message
    assert "alf/never.txt" in failure.message


def test_incomplete_results_are_said_to_be(session, environments):
    task = foreign(session, environments, "Incomplete")
    assert task.run() == -3
    assert task.state is Status.INCOMPLETE


@pytest.mark.parametrize(
    ("name", "category", "said"),
    [
        ("Fails", "bug", ("ZeroDivisionError: a bug of theirs", "the last words", "001 Fails_00")),
        ("LacksFile", "missing_input", ("raw/absent.txt", "lacks what it reads")),
        ("LacksModule", "environment", ("a_module_that_nobody_has", "'ibllib'")),
        ("Dies", "killed", ("ended without an answer", "exit status -9")),
        ("NotThere", "bug", ("AttributeError", "NotThere")),
    ],
)
def test_a_failure_says_who_can_mend_it(session, environments, name, category, said):
    task = foreign(session, environments, name)
    assert task.run() == -1
    (failure,) = task.failures
    assert failure.category == category
    for part in said:
        assert part in failure.message


@pytest.mark.parametrize("subject", ["my mouse", "x;touch HIT;", "$(touch HIT)", "`touch HIT`", "a'b"])
def test_in_a_folder_that_a_shell_would_take_apart_it_is_not_started_and_tasks_of_ours_run(
    tmp_path, environments, subject
):
    folder = tmp_path / "lab" / "Subjects" / subject / "2023-05-01" / "001"
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "in.txt").write_text("hello")
    task = foreign(Session(folder), environments, "Copies")
    assert task.run() == -2
    (failure,) = task.failures
    assert "a name that a shell interprets" in failure.message
    assert "rename it" in failure.message
    assert not (folder / "alf").exists()
    (step,) = task.steps({})
    record = run_step(step, [], folder)
    assert "a name that a shell interprets" in record.failure.message, "not even where nobody asked before"
    (folder / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    own = build_task(TaskSpec("Own_00", "lab_tasks.LickRate"), Session(folder))
    assert own.run() == 0, own.failures


def test_behind_a_link_of_a_plain_name_the_folder_counts_as_well(session, environments, tmp_path):
    folder = tmp_path / "lab" / "Subjects" / "SW;1" / "2023-05-01"
    folder.mkdir(parents=True)
    session.path.rename(folder / "001")
    session.path.symlink_to(folder / "001")
    task = foreign(session, environments, "Copies")
    assert task.run() == -2
    assert "SW;1" in task.failures[0].message


def test_whatever_its_name_is_its_home_is_a_plain_one(session, environments):
    spec = TaskSpec("a; touch HIT", "elsewhere.Copies", {})
    task = build_task(spec, session, environments=environments)
    assert task.run() == 0, task.failures
    home = ast.literal_eval((session.path / "alf" / "out.txt").read_text())[4]
    assert shell_fault(home) is None


def test_an_argument_with_a_command_in_it_is_not_passed_on(session, environments):
    task = foreign(session, environments, "Copies", device_collection="raw;touch HIT;")
    assert task.run() == -2
    assert "argument device_collection" in task.failures[0].message
    assert not (session.path / "alf").exists()


def alive(session):
    return [pid for pid in map(int, (session.path / "pids.txt").read_text().split()) if is_running(pid)]


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_pids(session, process, seconds=90):
    deadline = time.monotonic() + seconds
    while not ((session.path / "pids.txt").exists() and (session.path / "pids.txt").read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone_after_a_while(session, seconds=30):
    deadline = time.monotonic() + seconds
    while alive(session) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(session)


def test_what_takes_too_long_is_ended_with_all_that_it_started(session, environments):
    task = foreign(session, environments, "Sleeps")
    task.time_out_secs = 8
    assert task.run() == -1
    (failure,) = task.failures
    assert failure.category == "timeout"
    assert "within 8 s" in failure.message
    assert gone_after_a_while(session)


def test_when_the_driver_lets_go_of_the_session_it_is_ended(session, environments):
    """A worker that a cluster keeps cannot be told that the run is over."""
    held = Attempt(session.own / "lock.json").take()

    def let_go():
        deadline = time.monotonic() + 60
        while not (session.path / "pids.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        held.close()

    threading.Thread(target=let_go, daemon=True).start()
    task = foreign(session, environments, "Sleeps")
    (step,) = [*task.first_steps(), *task.steps({})]
    record = run_step(replace(step, lease=held.token), [], session.outputs)
    assert record.failure.category == "locked"
    assert gone_after_a_while(session)


def test_when_the_worker_is_killed_it_is_ended(session, environments, tmp_path):
    program = (
        "import sys\n"
        "from ibl_dask.model.session import Session\nfrom ibl_dask.model.task import TaskSpec\n"
        "from ibl_dask.tasks.registry import build_task\n"
        "spec = TaskSpec('Sleeps_00', 'elsewhere.Sleeps')\n"
        "build_task(spec, Session(sys.argv[1]), environments={'ibllib': sys.argv[2]}).run()\n"
    )
    python = environments.places["ibllib"]
    worker = subprocess.Popen([sys.executable, "-c", program, str(session.path), python])
    try:
        wait_for_pids(session, worker)
        assert len(alive(session)) == 2
    finally:
        worker.kill()
        worker.wait()
    assert gone_after_a_while(session)


INTERRUPTED = """
import contextlib, sys, time
import ibl_dask as ibd
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.model.task import TaskSpec
from ibl_dask.store.lock import Attempt

if __name__ == "__main__":
    session, python, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cluster = connect(this_machine(workers, dashboard_port=0)) if workers else contextlib.nullcontext()
    with cluster as client:
        specs = [TaskSpec("Sleeps_00", "elsewhere.Sleeps")]
        run = ibd.run([session], specs=specs, environments={"ibllib": python}, client=client)
        print("interrupted" if run.interrupted else "ended", flush=True)
        sys.stdin.readline()
"""


@pytest.mark.parametrize("workers", [0, 1])
def test_when_somebody_stops_the_run_it_is_ended_while_the_cluster_stays(session, environments, tmp_path, workers):
    (session.path / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    program = tmp_path / "program.py"
    program.write_text(INTERRUPTED)
    command = [sys.executable, str(program), str(session.path), environments.places["ibllib"], str(workers)]
    driver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        wait_for_pids(session, driver)
        driver.send_signal(signal.SIGINT)
        assert driver.stdout.readline() == "interrupted\n"
        assert gone_after_a_while(session)
        assert driver.poll() is None
    finally:
        driver.communicate("\n", timeout=60)


def test_without_its_environment_it_waits_and_says_what_to_do(session, monkeypatch):
    monkeypatch.setattr("ibl_dask.tasks.external.environments.find_spec", lambda name: None)
    monkeypatch.delenv("IBL_DASK_PYTHON_IBLLIB", raising=False)
    task = build_task(TaskSpec("Trials", "ibllib.pipes.behavior_tasks.ChoiceWorldTrialsBpod"), session)
    assert task.run() == -2
    assert task.state is Status.WAITING
    (failure,) = task.failures
    assert failure.category == "environment"
    assert "IBL_DASK_PYTHON_IBLLIB" in failure.message
    assert "pip install 'ibl_dask[ibllib]'" in failure.message


def test_where_results_go_elsewhere_it_is_refused_and_nothing_is_written(session, environments, tmp_path):
    before = sorted(session.path.rglob("*"))
    away = Session(session.path, tmp_path / "out")
    task = build_task(TaskSpec("Copies_00", "elsewhere.Copies"), away, environments=environments)
    assert task.run() == -2
    assert "writes into the session folder" in task.failures[0].message
    assert "--output-root" in task.failures[0].message
    assert sorted(session.path.rglob("*")) == before


def test_an_environment_is_named_by_site_or_variable_as_folder_or_python(tmp_path, monkeypatch):
    python = make_environment(tmp_path / "env")
    for place in (python, tmp_path / "env"):
        assert Environments({"dlc": str(place)}).python_of("dlc") == python
    monkeypatch.setenv("IBL_DASK_PYTHON_DLC", str(python))
    assert Environments().python_of("dlc") == python
    assert Environments({"dlc": str(python)}).holding("dlc", "elsewhere") == (python, "")
    monkeypatch.setenv("IBL_DASK_PYTHON_DLC", str(tmp_path / "gone"))
    with pytest.raises(MissingEnvironment, match="is not there"):
        Environments().python_of("dlc")
    with pytest.raises(MissingEnvironment, match="does not hold mpci"):
        Environments({"mpci": str(python)}).holding("mpci", "mpci")
    not_python = tmp_path / "not_python"
    not_python.write_text("#!/bin/sh\necho no\n")
    not_python.chmod(0o755)
    with pytest.raises(MissingEnvironment, match="does not work"):
        Environments({"mpci": str(not_python)}).holding("mpci", "mpci")


@pytest.mark.parametrize(
    ("executable", "label"),
    [
        ("ibllib.pipes.video_tasks.DLC", "dlc"),
        ("ibllib.pipes.video_tasks.DLCOther", "ibllib"),
        ("ibllib.pipes.video_tasks.LightningPose", "litpose"),
        ("ibllib.pipes.ephys_tasks.SpikeSorting", "iblsorter"),
        ("mpci.tasks.MesoscopePreprocess", "mpci"),
        ("mpci.chronic.roicat.Match", "roicat"),
        ("projects.extraction_tasks.Mine", "ibllib"),
    ],
)
def test_the_environment_follows_from_the_longest_start_of_the_path(executable, label):
    assert environment_of(executable) == label


def test_paths_of_the_field_s_video_tasks_are_our_own_classes(session_folder):
    for name in ("VideoRegisterRaw", "VideoCompress", "VideoConvert", "VideoSyncQcNidq", "VideoSyncQcBpod"):
        assert find_task(f"ibllib.pipes.video_tasks.{name}") is getattr(ibd, name)
    assert find_task("ibllib.pipes.video_tasks.VideoSyncQcCamlog") is ibd.VideoSyncQcCamlog
    assert find_task("ibllib.pipes.video_tasks.DLC") is None
    spec = TaskSpec("VideoCompress", "ibllib.pipes.video_tasks.VideoCompress", {"cameras": ["left"]})
    task = build_task(spec, Session(session_folder), encode_pixels=7, overwrite=True, environments=None)
    assert (type(task), task.cameras, task.encode_pixels) == (ibd.VideoCompress, ("left",), 7)
    assert task.workspace.overwrite


def test_what_is_set_on_a_task_goes_with_it(session):
    task = build_task(TaskSpec("DLC", "ibllib.pipes.video_tasks.DLC", {"cameras": ["left"]}), session)
    assert (task.environment, task.dlcenv, task.scripts) == ("dlc", None, None)
    task.dlcenv, task.force = Path("/envs/dlc/bin/activate"), True
    task.cpu, task.gpu, task.ram = 4, 1, 16
    (step,) = task.steps({})
    assert step.request.settings == {"dlcenv": "/envs/dlc/bin/activate", "force": True}
    assert (step.resources.cpu, step.resources.kind, step.resources.memory_gb) == (4, "GPU", 16)


def test_a_deck_holds_a_task_under_its_name(session_folder):
    deck = {}
    assert ibd.assign_task(deck, session_folder, ibd.VideoCompress, cameras=("left",)) is None
    assert list(deck) == ["VideoCompress"]
    assert deck["VideoCompress"].cameras == ("left",)
