"""What the user of the command line sees; every command runs in a process of its own."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked_program import Forked
from needs import PEER
from program import call, run, says

from ibl_dask.cli.app import main
from ibl_dask.cli.run import print_excluded_nodes
from ibl_dask.deploy.cluster.jobs import PoolState
from ibl_dask.deploy.site.profile import Pool
from ibl_dask.store.run_summary import find_runs


def raw(folder, camera, part):
    return folder / "raw_video_data" / f"_iblrig_{camera}Camera.{part}"


def times_of(folder):
    return {path.name for path in (folder / "alf").glob("_ibl_*Camera.times.npy")}


ALL_TIMES = {f"_ibl_{label}Camera.times.npy" for label in ("left", "right", "body")}


def test_run_says_how_it_went_and_where_the_report_is(session_folder):
    code, text = run(session_folder)
    assert code == 0, text
    assert times_of(session_folder) == ALL_TIMES
    report = session_folder / "ibl_dask" / "report.html"
    assert f"report: {report}" in text
    assert report.stat().st_size > 10_000


def test_run_on_workers_prints_the_dashboard(session_folder):
    code, text = call("run", session_folder, "--workers", "1")
    assert code == 0, text
    assert "dashboard: http://" in text
    assert "ssh -N -L" in text


def test_plan_says_what_would_run_and_writes_nothing(session_folder):
    before = sorted(session_folder.parents[3].rglob("*"))
    code, text = call("plan", session_folder)
    assert code == 0, text
    assert "VideoRegisterRaw, VideoSyncQC_nidq" in text
    assert "300" in text
    assert "core-hours" in text
    assert sorted(session_folder.parents[3].rglob("*")) == before


def test_plan_as_json_holds_every_task_and_the_totals(session_folder):
    code, text = call("plan", session_folder, "--json")
    assert code == 0, text
    found = json.loads(text)
    tasks = {task["task"]: task for task in found["sessions"][0]["tasks"]}
    assert tasks["VideoSyncQC_nidq"]["why"] == "missing output"
    assert tasks["VideoSyncQC_nidq"]["executable"] == "ibllib.pipes.video_tasks.VideoSyncQcNidq"
    assert tasks["VideoSyncQC_nidq"]["parents"] == ["VideoCompress", "SyncPulses_nidq"]
    assert tasks["DLC"]["why"] == "environment missing"
    assert found["totals"]["tasks_that_run"] == 2
    assert found["totals"]["core_hours"] > 0


def test_plan_with_another_pose_estimator(session_folder):
    code, text = call("plan", session_folder, "--pose", "lightning_pose")
    assert code == 0, text
    assert "LightningPose" in text
    assert "DLC" not in text


def test_plan_of_one_bad_session_still_shows_the_others(session_folder):
    other = session_folder.parent / "002"
    other.mkdir()
    code, text = call("plan", session_folder.parent)
    assert code == 1
    assert "no experiment description" in text
    assert "VideoSyncQC_nidq" in text


def test_plan_after_a_run_says_that_all_is_measured(session_folder):
    run(session_folder)
    code, text = call("plan", session_folder)
    assert code == 0
    assert text.count("measured already") == 3


def test_status_reads_the_journal(session_folder):
    run(session_folder)
    code, text = call("status", "--work-dir", session_folder.parents[2] / ".ibl_dask")
    assert code == 0, text
    assert "SW_001/2023-05-01/001" in text
    assert "ended after" in text
    code, text = call("status", cwd=session_folder.parents[3])
    assert code == 0, text


def test_status_shows_the_run_that_is_named_and_names_others(session_folder):
    work = session_folder.parents[2] / ".ibl_dask"
    for tasks in ("VideoRegisterRaw", "VideoSyncQcNidq"):
        assert run(session_folder, "--tasks", tasks)[0] == 0
    newest, oldest = (found.name for found in find_runs(work))
    code, text = call("status", "--run", oldest, "--work-dir", work, "--json")
    assert code == 0
    content = json.loads(text)
    assert content["run"]["run"] == oldest
    assert content["run"]["request"] == {"tasks": "VideoRegisterRaw"}
    assert content["state"]["word"] == "finished"
    assert content["states"] == {"done": 1}
    (row,) = content["sessions"]
    assert row["tasks"] == {"VideoRegisterRaw": "Complete"}
    assert row["report"].endswith("ibl_dask/report.html")
    assert newest in call("status", "--work-dir", work)[1]
    code, text = call("status", "--run", "2001", "--work-dir", work)
    assert code == 2
    assert "no run of this name" in text
    assert f"{newest}, {oldest}" in text


def test_status_of_a_failed_run_is_not_zero(session_folder):
    raw(session_folder, "right", "raw.mp4").unlink()
    run(session_folder)
    code, text = call("status", "--failed", cwd=session_folder.parents[3])
    assert code == 1
    assert "SW_001/2023-05-01/001" in text


def test_qc_shows_every_check(session_folder):
    run(session_folder)
    code, text = call("qc", session_folder)
    assert code == 0
    for name in ("brightness", "framerate", "pin_state", "dropped_frames", "timestamps", "focus"):
        assert name in text


def test_report_is_written_anew(session_folder, tmp_path):
    run(session_folder)
    code, text = call("report", session_folder, "--out", tmp_path / "mine.html")
    assert code == 0, text
    assert (tmp_path / "mine.html").read_text().count("SW_001/2023-05-01/001") >= 1


def test_a_folder_and_a_list_of_sessions_are_understood(session_folder, tmp_path):
    code, text = call("plan", session_folder.parents[3])
    assert code == 0, text
    listed = tmp_path / "sessions.txt"
    listed.write_text(f"# mine\n{session_folder}  # the first\n\n")
    code, text = call("plan", listed)
    assert code == 0, text
    assert "SW_001/2023-05-01/001" in text


class TestBadInput:
    """Each says what, where, expected, got and what to do; the exit code is not zero."""

    def test_a_path_that_is_no_session(self, tmp_path):
        (tmp_path / "some_folder").mkdir()
        code, text = run(tmp_path / "some_folder")
        assert code != 0
        says(text, "holds no session", str(tmp_path), "expected: ", "got: ", "what to do: ")

    def test_a_path_that_does_not_exist(self, tmp_path):
        code, text = run(tmp_path / "SW_001" / "2023-05-01" / "001")
        assert code != 0
        says(text, "does not exist", "expected: ", "got: ", "what to do: ")

    def test_a_name_that_is_no_path(self):
        code, text = run("ZFM-01234")
        assert code != 0
        says(text, "no session", "expected: ", "got: ", "what to do: ")

    def test_no_description(self, session_folder):
        (session_folder / "_ibl_experiment.description.yaml").unlink()
        code, text = run(session_folder)
        assert code != 0
        says(text, "no experiment description", str(session_folder), "expected: ", "got: ", "what to do: ")
        assert not (session_folder / "alf" / "_ibl_leftCamera.times.npy").exists()

    def test_a_declared_camera_without_a_file(self, session_folder):
        raw(session_folder, "right", "raw.mp4").unlink()
        code, text = run(session_folder)
        assert code != 0
        says(text, "_iblrig_rightCamera.raw.mp4", "where: ", "expected: ", "got: ", "what to do: ")
        assert times_of(session_folder) == ALL_TIMES - {"_ibl_rightCamera.times.npy"}

    def test_mp4_without_moov(self, session_folder):
        video = raw(session_folder, "right", "raw.mp4")
        content = video.read_bytes()
        video.write_bytes(content[: content.rindex(b"moov") - 4])
        code, text = run(session_folder)
        assert code != 0
        says(text, "cannot be opened as a video", str(video), "moov", "expected: ", "got: ", "what to do: ")
        assert times_of(session_folder) == ALL_TIMES - {"_ibl_rightCamera.times.npy"}

    def test_an_empty_file(self, session_folder):
        raw(session_folder, "left", "raw.mp4").write_bytes(b"")
        code, text = run(session_folder)
        assert code != 0
        says(text, "is empty", "_iblrig_leftCamera.raw.mp4", "0 bytes", "expected: ", "what to do: ")
        assert times_of(session_folder) == ALL_TIMES - {"_ibl_leftCamera.times.npy"}

    def test_sync_files_of_unequal_length(self, session_folder):
        import numpy as np

        path = session_folder / "raw_ephys_data" / "_spikeglx_sync.polarities.npy"
        np.save(path, np.load(path)[:-3])
        code, text = run(session_folder)
        assert code != 0
        says(text, "_spikeglx_sync", "where: ", "expected: ", "got: ", "what to do: ")
        assert times_of(session_folder) == set()
        # What needs no sync is done all the same.
        qc = json.loads((session_folder / "ibl_dask" / "qc.json").read_text())
        assert qc["extended_qc"]["_videoLeft_brightness"] == "PASS"

    def test_no_pulses_on_the_camera_s_channel(self, session_folder):
        import numpy as np

        path = session_folder / "raw_ephys_data" / "_spikeglx_sync.channels.npy"
        channels = np.load(path)
        channels[channels == 1] = 14
        np.save(path, channels)
        code, text = run(session_folder)
        assert code != 0
        says(text, "right camera", "expected: ", "got: ", "14", "what to do: ")
        assert times_of(session_folder) == ALL_TIMES - {"_ibl_rightCamera.times.npy"}

    def test_frame_data_with_a_cut_last_record(self, session_folder):
        path = raw(session_folder, "left", "frameData.bin")
        path.write_bytes(path.read_bytes()[:-7])
        code, _ = run(session_folder)
        assert code == 0
        assert times_of(session_folder) == ALL_TIMES
        qc = json.loads((session_folder / "ibl_dask" / "qc.json").read_text())
        check = qc["cameras"]["left"]["checks"]["timestamps"]
        # Numbers no longer agree, and so few changes of the pin do not confirm which pulse is that of frame 0.
        assert check["outcome"] == "FAIL"
        says(check["message"], "frameData.bin", "record", "6 of 6 pin changes coincide")

    def test_camera_files_of_unequal_length(self, session_folder):
        path = raw(session_folder, "body", "GPIO.bin")
        path.write_bytes(path.read_bytes()[: 8 * 100])
        code, text = run(session_folder)
        assert code != 0
        says(text, "body", "100", "150", "expected: ", "got: ", "what to do: ")
        assert times_of(session_folder) == ALL_TIMES - {"_ibl_bodyCamera.times.npy"}

    def test_a_task_that_does_not_exist(self, session_folder):
        code, text = run(session_folder, "--tasks", "VideoCompess")
        assert code != 0
        says(text, "VideoCompess", "VideoRegisterRaw", "what to do: ")

    def test_a_profile_with_an_unknown_key(self, session_folder, tmp_path):
        (tmp_path / "site.yaml").write_text("name: mine\nwrokers: 3\n")
        code, text = run(session_folder, "--profile", tmp_path / "site.yaml")
        assert code != 0
        says(text, "wrokers", "expected: ", "what to do: ")

    @pytest.mark.skipif(not Path("/proc/1").exists(), reason="needs a folder that refuses even the administrator")
    def test_a_read_only_place_for_results(self, session_folder):
        code, text = run(session_folder, "--output-root", "/proc/ibl_dask")
        assert code != 0
        says(text, "cannot be written", "/proc", "--output-root", "what to do: ")


def has_chunk(folder):
    """Return whether a chunk is kept somewhere below a folder, in which folders come and go."""
    return any("-chunks/" in place and file.endswith(".npz") for place, _, files in os.walk(folder) for file in files)


def test_ctrl_c_stops_quietly_and_running_again_continues(session_folder):
    """A terminal sends the signal to every process of the run."""
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = Forked("run", session_folder, "--workers", "2", start_new_session=True, **outputs)
    deadline = time.monotonic() + 300
    while not has_chunk(session_folder.parents[2]) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert "Traceback" not in text, text
    assert process.returncode == 130, text
    assert "run the same command again" in text
    code, text = run(session_folder)
    assert code == 0, text
    assert "kept from an earlier run" in text


@pytest.mark.parametrize(("line", "hidden"), [("umask: 0077", 0o077), ("umask: 0027", 0o027), ("", 0o022)])
def test_files_of_a_run_without_workers_have_the_permissions_of_the_profile(session_folder, tmp_path, line, hidden):
    """Results, logs, the lock that was there, the journal: whatever the run made."""
    profile, work = tmp_path / "site.yaml", tmp_path / "work"
    profile.write_text(f"workers: 1\n{line}\n")
    before = os.umask(0o022)
    try:
        code, text = run(session_folder, "--profile", profile, "--work-dir", work, "--tasks", "VideoRegisterRaw")
    finally:
        os.umask(before)
    assert code == 0, text
    made = [path for folder in (session_folder / "ibl_dask", work) for path in [folder, *folder.rglob("*")]]
    assert {"registration.json", "report.html", "provenance.json"} <= {path.name for path in made}
    assert any(path.suffix == ".jsonl" for path in made)
    for path in made:
        full = 0o777 if path.is_dir() else 0o666
        assert path.stat().st_mode & 0o777 == full & ~hidden, path


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, ibl_dask; print(*(m for m in ('av', 'cv2', 'dask', 'numpy', 'xarray') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['ibl-dask', '--help']\nimport atexit\n"
        "atexit.register(lambda: print('HEAVY', *(m for m in ('av', 'cv2', 'dask', 'xarray') if m in sys.modules)))\n"
        "from ibl_dask.cli.app import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].split() == ["HEAVY"]
    for name in ("demo", "plan", "run", "status", "qc", "report"):
        assert f"  {name}" in done.stdout


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_groups_all_commands_with_whole_sentences_within_80_columns(option, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, text = call(option)
    assert code == 0
    assert "..." not in text.split("Run sessions:")[1]
    assert "Others:" not in text
    assert max(map(len, text.splitlines())) <= 80
    for heading in ("Run sessions:", "Look at results:", "Set up a site:", "Free disks:", "Examples:"):
        assert heading in text


def test_examples_of_help_name_commands_and_options_that_exist():
    for command in ("plan", "run", "status"):
        _, text = call(command, "--help")
        options, examples = text.split("Examples:")
        assert examples.count(f"ibl-dask {command}") >= 3
        assert all(word in options for word in examples.split() if word.startswith("--"))


def test_the_version_is_that_of_the_installed_package():
    assert call("--version") == (0, f"ibl_dask {version('ibl_dask')}\n")


def test_other_environments_are_those_of_the_profile(session_folder, tmp_path):
    """This one lacks the field's package, and the message names it: so it was the profile's."""
    profile = tmp_path / "site.yaml"
    profile.write_text(f"environments:\n  ibllib: {sys.executable}\n")
    code, text = call("plan", session_folder, "--profile", profile, "--json")
    assert code == 0
    (told,) = json.loads(text)["sessions"]
    why = {task["task"]: (task["why"], task["detail"]) for task in told["tasks"]}
    assert why["SyncRegisterRaw"][0] == "environment missing"
    assert "does not hold ibllib" in why["SyncRegisterRaw"][1]
    assert sys.executable in why["SyncRegisterRaw"][1]


@pytest.mark.peer
def test_of_tasks_whose_environment_is_there_only_those_that_need_the_database_wait(session_folder, tmp_path):
    profile = tmp_path / "site.yaml"
    profile.write_text(f"environments:\n  ibllib: {PEER}\n")
    code, text = call("plan", session_folder, "--profile", profile, "--json")
    assert code == 0, text
    (told,) = json.loads(text)["sessions"]
    tasks = {task["task"]: task for task in told["tasks"]}
    for name in ("ExperimentDescriptionRegisterRaw", "EphysRegisterRaw"):
        assert "needs Alyx" in tasks[name]["detail"]
    assert tasks["SyncRegisterRaw"]["runs"]
    assert tasks["RegisterRaw__iblrig_tasks_ephysChoiceWorld_00"]["runs"]


def test_a_run_says_which_nodes_its_pools_left_out_and_why(capsys):
    gpu = Pool("gpu", "slurm", gpus=1)
    states = [PoolState(gpu, 1, 1, 2, excluded={"n3": "it does not answer within 45 s"}), PoolState(gpu, 1, 1, 1)]
    print_excluded_nodes(SimpleNamespace(cluster=SimpleNamespace(pools=lambda: states)))
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("pool gpu left out n3: it does not answer within 45 s; tell")
    print_excluded_nodes(SimpleNamespace(cluster=SimpleNamespace()))  # workers of this machine
    assert capsys.readouterr().out == ""


def test_the_program_leaves_the_logging_of_the_process_around_it_alone(monkeypatch, caplog):
    monkeypatch.setattr("sys.argv", ["ibl-dask", "--help"])
    with pytest.raises(SystemExit):
        main()
    logging.getLogger("ibl_dask.anything").warning("still heard")
    assert "still heard" in caplog.text
