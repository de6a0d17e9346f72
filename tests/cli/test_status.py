"""`ibl-dask status`: which run, which sessions, and why they failed."""

import json
import os
import subprocess
import sys

import pytest
from made_runs import FAULTS, folder_of, seven_kinds, write_run

from ibl_dask.cli import app

OLD, NEW = "20230501T000000-aaaaaa", "20230502T000000-bbbbbb"
FULL = {n: FAULTS["the disk is full"](n) for n in (3, 4)}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Return a folder with two runs: one of 120 sessions that ended, and one of 12 whose driver was killed."""
    root = tmp_path_factory.mktemp("lab")
    write_run(root, OLD, 120, seven_kinds(120))
    write_run(root, NEW, 12, FULL, n_begun=6)
    return root


@pytest.fixture
def status(lab, capsys, monkeypatch):
    """Return a function that calls the command, and returns exit code, output and errors."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments, work=True):
        where = ["--work-dir", lab / "Subjects" / ".ibl_dask"] if work else []
        monkeypatch.setattr(sys, "argv", ["ibl-dask", "status", *map(str, [*arguments, *where])])
        with pytest.raises(SystemExit) as ended:
            app.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return call


def test_a_run_of_many_sessions_is_a_matrix_that_fits_80_columns(status):
    code, out, _ = status("--run", OLD)
    assert code == 1
    lines = out.splitlines()
    rows = [line for line in lines if line.startswith("SW_")]
    assert len(rows) == 12, "those that need someone"
    assert all(" failed " in row and "✕ FAIL" in row for row in rows)
    assert max(len(line.rstrip()) for line in rows) <= 80
    assert "12 failed, 108 done" in out
    for words in FAULTS:
        assert words in out
    assert len(lines) < 80


def test_the_run_is_named_and_so_are_others(status):
    _, out, _ = status()
    assert f"run {NEW}" in out
    assert f"1 other run here, the latest {OLD}" in out
    _, out, _ = status("--run", OLD[:8])
    assert f"run {OLD}" in out
    assert "1 of them newer" in out


def test_sessions_of_a_killed_run_are_told_apart(status):
    code, out, _ = status()
    assert code == 1
    assert "2 failed, 1 interrupted, 6 not started, 3 done" in out
    code, out, _ = status("--state", "interrupted,not started", "--json")
    assert len(json.loads(out)["sessions"]) == 7


def test_failed_sessions_are_a_list_that_run_takes(status, lab, tmp_path):
    code, out, err = status("--run", OLD, "--failed")
    assert code == 1
    assert out.splitlines() == [str(folder_of(lab, n)) for n in range(0, 120, 10)]
    assert "the disk is full" in err
    listed = tmp_path / "failed.txt"
    listed.write_text(out)
    from ibl_dask.cli.sessions import find_sessions

    assert len(find_sessions([str(listed)])) == 12
    _, out, _ = status("--run", OLD, "--failed", "--category", "disk")
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "n"),
    [
        (["--state", "failed"], 12),
        (["--state", "done"], 108),
        (["--state", "failed,done"], 120),
        (["--category", "disk"], 2),
        (["--category", "environment"], 120),
        (["--camera", "left"], 4),
        (["--camera", "right"], 12),
        (["--task", "VideoCompress"], 12),
        (["--task", "DLC"], 120),
        (["--category", "disk", "--state", "done"], 0),
    ],
)
def test_sessions_are_chosen_by_state_category_camera_and_task(status, options, n):
    _, out, _ = status("--run", OLD, "--json", *options)
    assert len(json.loads(out)["sessions"]) == n


@pytest.mark.parametrize("options", [["--state", "lost"], ["--category", "gremlins"]])
def test_a_state_or_category_that_does_not_exist_is_named_with_those_that_do(status, options):
    code, _, err = status(*options)
    assert code == 2
    assert options[1] in err
    assert "expected: " in err


def test_json_holds_every_session_and_the_reasons(status):
    _, out, _ = status("--run", OLD, "--json")
    told = json.loads(out)
    assert len(told["sessions"]) == 120
    assert told["states"] == {"done": 108, "failed": 12}
    assert told["other_runs"] == [NEW]
    assert [reason["n_sessions"] for reason in told["reasons"] if reason["is_wait"]] == [120, 120]
    assert sum(reason["n_sessions"] for reason in told["reasons"] if not reason["is_wait"]) == 12


def test_sessions_as_arguments_choose_the_run_that_has_them(status, lab):
    for n in (1, 2, 50):
        folder_of(lab, n).mkdir(parents=True, exist_ok=True)
    _, out, _ = status(folder_of(lab, 50), work=False)
    assert f"run {OLD}" in out
    assert "1 of them newer" in out
    assert out.count("SW_0050/2023-05-01/001") >= 1
    assert "SW_0051" not in out
    _, out, _ = status(folder_of(lab, 1), folder_of(lab, 50))
    assert f"run {NEW}" in out
    assert "1 session of those named is not in this run" in out
    code, _, err = status(folder_of(lab, 777))
    assert code == 2
    assert "no run here has these sessions" in err


def test_watching_a_run_ends_with_it(lab):
    code = "from ibl_dask.cli.app import main; main()"
    command = [sys.executable, "-c", code, "status", "--watch", "--work-dir", str(lab / "Subjects" / ".ibl_dask")]
    done = subprocess.run([*command, "--run", OLD], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [f"run {OLD}, ended after 3 s: 12 failed, 108 done"]


def test_status_needs_neither_numpy_nor_dask(lab):
    code = (
        "import sys, atexit; sys.argv[1:] = ['status', '--work-dir', sys.argv[1]];"
        "atexit.register(lambda: print('HEAVY', *(m for m in ('av', 'cv2', 'dask', 'numpy') if m in sys.modules)));"
        "from ibl_dask.cli.app import main; main()"
    )
    command = [sys.executable, "-c", code, str(lab / "Subjects" / ".ibl_dask")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"})
    assert done.stdout.splitlines()[-1].split() == ["HEAVY"]
