"""Dask's own record of a run: beside the journal, about this run, and never worth more than the run itself."""

import json
import os
import re
import subprocess
import sys

import pytest
from program import WITHOUT_POWERS, call, environment

import ibl_dask
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.cluster.performance import recorded
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.store.run_summary import find_runs


def insist_on_record(journal):
    """Check the record of a run beside its journal, and return what it says."""
    text = (journal / f"dask-{journal.name}.html").read_text()
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert "Dask Performance Report" in text
    for step in ("index-left", "framepass-left", "framepass-body", "frames-right", "qc", "publish"):
        assert step in text, step
    # It opens offline.
    assert not re.search(r"""<script[^>]*\ssrc\s*=|<link[^>]*stylesheet[^>]*https?:""", text)
    return text


def insist_on_no_secrets(text, *folders):
    """Check that it shows programs, and neither where data are nor what keys are."""
    assert "PRIVATE KEY" not in text
    for folder in folders:
        assert str(folder) not in text


def test_the_program_leaves_it_beside_the_journal_and_says_where(session_folder, tmp_path):
    profile = tmp_path / "here.yaml"
    profile.write_text("name: here\nworkers: 1\ndashboard_port: 0\nsecurity: tls\n")
    work = tmp_path / "work"
    code, text = call("run", session_folder, "--profile", profile, "--work-dir", work)
    assert code == 0, text
    (journal,) = (run.journal for run in find_runs(work))
    record = insist_on_record(journal)
    assert f"what the workers did: {journal / f'dask-{journal.name}.html'}" in text
    insist_on_no_secrets(record, session_folder, tmp_path, work)


def test_a_run_from_python_leaves_it_beside_the_journal_and_names_it(session_folder, tmp_path, client):
    secret = "what the caller's code says"  # which Dask would show
    result = ibl_dask.run([session_folder], client=client, work_dir=tmp_path / "work")
    assert result.exit_code == 0
    assert result.performance == result.journal / f"dask-{result.name}.html"
    record = insist_on_record(result.journal)
    insist_on_no_secrets(record, session_folder, tmp_path)
    assert secret not in record


FAILING = """
import json, resource, sys
from pathlib import Path
import ibl_dask
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.store.run_summary import find_runs
from ibl_dask.model.events import RunFinished

session, work, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

def spoil(event):
    if not isinstance(event, RunFinished):
        return
    if how == "read-only":
        next((work / "runs").iterdir()).chmod(0o555)
    else:  # no file may grow: every disk is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, unlimited[1]))

if __name__ == "__main__":
    with connect(this_machine(1, dashboard_port=0)) as client:
        options = {"client": client, "work_dir": work, "listeners": [spoil], "tasks": ["VideoRegisterRaw"]}
        result = ibl_dask.run([session], **options)
        next((work / "runs").iterdir()).chmod(0o755)
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    tasks = {name: str(status) for name, status in result.sessions[0].tasks.items()}
    failures = [str(result.journal_failure or ""), result.performance_failure]
    print(json.dumps([result.exit_code, result.performance, tasks, failures]))
"""


@pytest.mark.parametrize("how", ["read-only", "full"])
def test_a_folder_that_takes_no_more_costs_the_record_and_nothing_else(session_folder, tmp_path, how):
    work = tmp_path / "work"
    command = [sys.executable, "-c", FAILING, str(session_folder), str(work), how]
    prefix = WITHOUT_POWERS if how == "read-only" else []
    done = subprocess.run(
        [*prefix, *command], capture_output=True, text=True, env=environment(), check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    code, record, tasks, failures = json.loads(done.stdout)
    assert (code, record, tasks) == (0, None, {"VideoRegisterRaw": "Complete"})
    assert failures[0] == ""
    assert {"read-only": "cannot be written", "full": "too large"}[how] in failures[1], failures
    assert "Dask's record of the run could not be written" in done.stderr
    assert [path for path in work.rglob("*.html") if path.is_file()] == []


BROKEN_PROGRAM = """
import ibl_dask.deploy.cluster.performance as performance

def refuse(path, text):
    raise OSError(30, "Read-only file system", str(path))

performance.write_text = refuse
from ibl_dask.cli.app import main
main()
"""


def test_the_program_says_how_the_run_went_also_without_it(session_folder, tmp_path):
    arguments = [
        "run",
        session_folder,
        "--workers",
        "1",
        "--tasks",
        "VideoRegisterRaw",
        "--work-dir",
        tmp_path / "work",
    ]
    done = subprocess.run(
        [sys.executable, "-c", BROKEN_PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=120,
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "Traceback" not in text
    assert "could not be written" in text
    assert "Read-only file system" in text
    assert "journal: " in text
    assert "what the workers did: /" not in text


def some_error(*args, **kwargs):
    raise ImportError("no module named bokeh")


@pytest.mark.parametrize("when", ["at the start", "at the end"])
def test_a_scheduler_that_cannot_make_it_costs_nothing_else(client, tmp_path, monkeypatch, caplog, when):
    if when == "at the start":
        monkeypatch.setattr(client, "get_task_stream", some_error)
    else:
        monkeypatch.setitem(client.cluster.scheduler.handlers, "performance_report", some_error)
    with recorded(client) as write:
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        path, reason = write(tmp_path / "record.html")
    assert path is None
    assert "no module named bokeh" in reason
    assert list(tmp_path.iterdir()) == []
    assert "no module named bokeh" in caplog.text


def test_an_error_of_the_run_comes_through(client):
    with pytest.raises(KeyError, match="of the run"), recorded(client):
        raise KeyError("of the run")


def test_it_is_about_the_workers_of_the_client_that_is_given(client, tmp_path):
    """Whichever other client this process has made since."""
    with connect(this_machine(1, dashboard_port=0)) as other, recorded(client) as write:
        client.submit(os.getpid, key=("mine-left", "a", "b", 0)).result(timeout=60)
        other.submit(os.getpid, key=("others-left", "a", "b", 0)).result(timeout=60)
        path, _ = write(tmp_path / "record.html")
        text = path.read_text()
    assert "mine-left" in text
    assert "others-left" not in text
