"""What commands say of calls that make no sense, of sessions that are odd, and of faults of their own."""

import json
import os
import sys
from pathlib import Path

import pytest
from described import described

import ibl_dask as ibd
from ibl_dask.cli import app


def call(capsys, monkeypatch, *arguments):
    """Run a command in this process; return exit code, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["ibl-dask", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return ended.value.code, said.out, said.err


@pytest.fixture
def command(capsys, monkeypatch):
    return lambda *arguments: call(capsys, monkeypatch, *arguments)


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--encoding", "h265"], ["--encoding", "h265", "ibl, ibl_bpod, short_gop"]),
        (["--encoding", "ibl_bpd"], ["write ibl_bpod"]),
        (["--raw-video", "remove"], ["--raw-video", "keep, trash, delete"]),
        (["--raw-video", "delete", "--output-root", "out"], ["leave one of the two out"]),
        (["--pose", "dcl"], ["write dlc"]),
        (["--longest-extrapolation", "-3"], ["--longest-extrapolation", "0 or more"]),
        (["--reference-frames", "nowhere"], ["no such folder"]),
        (["--tasks", "VideoSyncQcNidg"], ["no session has a task VideoSyncQcNidg", "write VideoSyncQcNidq"]),
        (["--tasks", "VideoCompess"], ["VideoSyncQC_nidq (VideoSyncQcNidq)", "VideoSyncQC_bpod (VideoSyncQcBpod)"]),
        (["--tasks", "no_such_lab.tasks.Lick"], ["no package no_such_lab is installed here"]),
        (["--tasks", ","], ["no task is named"]),
    ],
)
def test_values_are_checked_once_before_anything_starts(command, tmp_path, monkeypatch, verb, options, words):
    monkeypatch.chdir(tmp_path)
    described(tmp_path)
    described(tmp_path, "SW_002/2023-05-01/001", "bpod")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = command(verb, tmp_path, *options)
    assert code == 2
    assert out == "", "no session has its turn"
    assert err.count("error: ") == 1
    for word in words:
        assert word in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [["rnu", "x"], ["run", "x", "--workrs", "2"], ["run", "x", "--workers", "-1"], ["run", "x", "--workers", "two"]],
)
def test_a_misspelt_command_or_option_is_a_line(command, arguments):
    code, out, err = command(*arguments)
    assert code == 2
    assert out == ""
    assert "Error: " in err


def test_a_lab_s_task_given_by_its_dotted_path_runs(command, tmp_path):
    folders = [described(tmp_path), described(tmp_path, "SW_002/2023-05-01/001", "bpod")]
    code, out, err = command("plan", tmp_path, "--tasks", "lab_tasks.LickRate", "--details")
    assert (code, out.count(": LickRate")) == (0, 2), out + err
    code, out, err = command("run", tmp_path, "--workers", "0", "--tasks", "lab_tasks.LickRate")
    assert code == 0, out + err
    assert all((folder / "alf" / "lab.rate.npy").exists() for folder in folders)


def test_each_session_gets_what_it_has_of_the_tasks(command, tmp_path):
    described(tmp_path)
    described(tmp_path, "SW_002/2023-05-01/001", "bpod")
    code, out, _ = command("plan", tmp_path, "--tasks", "VideoRegisterRaw,VideoSyncQcBpod", "--details")
    assert code == 1, "the video is not there"
    assert "SW_001/2023-05-01/001: VideoRegisterRaw" in out
    assert "VideoSyncQcBpod was asked for, and this session has no such task" in out
    assert "VideoSyncQC_bpod, left: no video" in out
    code, out, _ = command("run", tmp_path / "Subjects" / "SW_001", tmp_path, "--workers", "0", "--tasks", "PostDLC")
    assert "SW_002/2023-05-01/001: has none of the tasks asked for" in out


def odd_sessions(root):
    """Write sessions of which no two are odd in the same way; return how many can be planned."""
    described(root, "SW_001/2023-02-30/001")
    described(root, "SW_002/0000-00-00/000")
    described(root, "SW_003/2023-05-01/001")
    (described(root, "SW_004/2023-05-01/001") / "_ibl_experiment.description.yaml").write_text("a: [")
    (described(root, "SW_005/2023-05-01/001") / "_ibl_experiment.description.yaml").unlink()
    (described(root, "SW_006/2023-05-01/001") / "_ibl_experiment.description.yaml").write_bytes(b"\xff\xfe\x00")
    (root / "Subjects" / "SW_007" / "2023-05-01").mkdir(parents=True)
    (root / "Subjects" / "SW_007" / "2023-05-01" / "001").symlink_to(root / "gone")
    folder = described(root, "SW_008/2023-05-01/001")
    (folder / "ibl_dask").symlink_to(root)
    described(root, "SW_009/2023-05-01/001", tasks="tasks: 7\n")
    odd = os.fsdecode(b"SW_\xff\xe9/2023-05-01/001")
    described(root, odd)
    return 4


def test_a_plan_has_a_row_for_every_session_however_odd(command, tmp_path):
    n_planned = odd_sessions(tmp_path)
    paths = sorted((tmp_path / "Subjects").glob("*/*/*"))
    assert len(paths) == 10
    code, out, err = command("plan", *paths)
    assert code == 1
    assert err == ""
    rows = [line for line in out.splitlines() if line.startswith("SW_")]
    assert len(rows) == 10
    for words in (
        "not valid YAML",
        "no experiment description",
        "a link that leads nowhere",
        "not UTF-8",
        "through a link",
    ):
        assert words in out
    code, out, _ = command("plan", *paths, "--json")
    told = json.loads(out)["sessions"]
    assert len(told) == 10
    assert sum("tasks" in session for session in told) == n_planned
    assert all("what to do" in session.get("error", "what to do").lower() for session in told)
    out.encode("utf-8")


def test_a_plan_of_two_sessions_that_would_write_into_one_folder_refuses_the_second_as_the_run_does(command, tmp_path):
    first, second = described(tmp_path / "a" / "lab"), described(tmp_path / "b" / "lab")
    arguments = [first, second, "--output-root", tmp_path / "out", "--tasks", "VideoRegisterRaw"]
    code, out, _ = command("plan", *arguments)
    assert code == 1
    assert "two sessions would write into one folder" in out
    code, out, _ = command("run", *arguments, "--workers", "0", "--work-dir", tmp_path / "work")
    assert code == 1
    assert "two sessions would write into one folder" in out


def test_several_processes_plan_sessions_as_one_does(command, tmp_path, monkeypatch):
    for number in (1, 2, 3):
        described(tmp_path, f"SW_001/2023-05-01/00{number}")
    plans = []
    for many in (4, 3):
        monkeypatch.setattr("ibl_dask.cli.session_plans.MANY", many)
        plans.append(json.loads(command("plan", tmp_path, "--json")[1]))
    assert plans[0] == plans[1]
    assert [Path(plan["session"]).name for plan in plans[1]["sessions"]] == ["001", "002", "003"]


class Surprise(Exception):
    """What nobody foresaw."""


@pytest.mark.parametrize("arguments", [["plan", "--details"], ["qc", "--details"], ["report"]])
def test_a_fault_of_our_own_is_a_message_and_the_other_sessions_go_on(command, tmp_path, monkeypatch, arguments):
    described(tmp_path)
    described(tmp_path, "SW_002/2023-05-01/001")

    def broken(*_, **__):
        raise Surprise("one by nothing")

    for name in (
        "ibl_dask.cli.session_plans.make_pipeline",
        "ibl_dask.cli.qc.require_qc",
        "ibl_dask.cli.report.read_provenance",
    ):
        monkeypatch.setattr(name, broken)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = command(*arguments, tmp_path)
    assert code == 1
    assert (out + err).count("Surprise: one by nothing") == 2
    written = sorted(tmp_path.glob("ibl-dask-*.txt"))
    assert len(written) == 2
    assert "in broken" in written[0].read_text()


@pytest.mark.parametrize("verb", ["run", "plan", "qc", "report", "status", "doctor", "jobscript", "demo"])
def test_no_command_shows_a_bare_traceback(command, tmp_path, monkeypatch, verb):
    def broken(*_, **__):
        raise Surprise("one by nothing")

    for name in (
        "run.find_sessions",
        "plan.find_sessions",
        "qc.find_sessions",
        "report.find_sessions",
        "run_choice.find_runs",
        "doctor.doctor_table",
        "demo.run_sessions",
    ):
        monkeypatch.setattr(f"ibl_dask.cli.{name}", broken)
    for name in ("ibl_dask.deploy.site.schema.read_profile", "ibl_dask.synth.session.write_session"):
        monkeypatch.setattr(name, broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    given = {"jobscript": ["--profile", "x.yaml"], "demo": [tmp_path / "demo"], "status": [], "doctor": []}
    code, _, err = command(verb, *given.get(verb, ["x"]))
    assert code == 2
    assert "an unexpected error occurred" in err
    assert "Surprise: one by nothing" in err
    assert str(tmp_path) in err


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "/x"), NotADirectoryError(20, "Not a dir", "/x")]
)
def test_what_the_system_refuses_is_told_with_its_path(error):
    from ibl_dask.cli.guard import known_error

    found = known_error(error)
    assert found.where == "/x"
    assert found.got in ("No such file", "Not a dir")


def test_the_traceback_of_a_fault_is_told_where_no_file_can_be_written(monkeypatch, tmp_path):
    from ibl_dask.cli.guard import known_error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert "Surprise: x" in known_error(Surprise("x")).do


def test_session_folders_that_are_gone_are_told_by_every_command(command, tmp_path):
    gone = tmp_path / "SW_001" / "2023-05-01" / "001"
    for verb in ("plan", "qc", "report"):
        code, out, err = command(verb, gone)
        assert code == 1
        assert "does not exist" in out + err
    assert not gone.parents[2].joinpath("SW_001").exists()
    with pytest.raises(ValueError, match="does not exist"):
        ibd.make_pipeline(gone)
