"""`ibl-dask alyx`, as a program: it creates, lists, runs, and ends cleanly when it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import forked_program
import pytest
from described import described
from flagged import flagged
from forked_program import Forked

HELPERS = Path(__file__).parents[1] / "helpers"
TOKEN = "0" * 39 + "1"


@pytest.fixture
def environment(fake, tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    return {
        **os.environ,
        "PYTHONPATH": str(HELPERS),
        "HOME": str(tmp_path),
        "COLUMNS": "160",
        "IBL_DASK_ALYX_URL": fake.url,
        "IBL_DASK_ALYX_USER": "test_user",
        "IBL_DASK_ALYX_TOKEN_FILE": str(file),
        "IBL_DASK_ALYX_REPOSITORY": "cortexlab_local",
        "IBL_DASK_TASK_PACKAGES": "seven_tasks",
    }


def call(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    code, out, err = forked_program.call("alyx", *arguments, env=environment)
    assert "Traceback" not in err, err
    return code, out + err


def until(condition: Callable[[], bool], process: Forked | None = None) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        assert process is None or process.poll() is None, "the program ended"
        time.sleep(0.05)


def test_jobs_are_created_and_listed(fake, environment, tmp_path: Path) -> None:
    flagged(tmp_path / "Subjects")
    flagged(tmp_path / "Subjects", date="2026-11-21", description="{")
    code, text = call(environment, "create", str(tmp_path / "Subjects"), "--settled", "0", "--json")
    made = {row["session"].split("/")[-2]: row for row in json.loads(text)}
    assert code == 1
    assert made["2026-11-20"]["state"] == "created"
    assert made["2026-11-21"]["failure"]["do"]
    code, text = call(environment, "queue", "--mode", "large", "--json")
    assert [row["name"] for row in json.loads(text)] == ["VideoCompress"]
    fake.world.add_task(next(iter(fake.world.sessions)), "Free", data_repository=None, priority=100)
    code, text = call(environment, "queue", "--unassigned", "--json")
    assert json.loads(text)[0]["name"] == "Free"
    code, text = call(environment, "queue", "--mode", "huge")
    assert code == 2
    assert "large" in text


def test_serve_runs_what_comes_and_ends_cleanly_by_sigterm(fake, environment, tmp_path: Path) -> None:
    subjects = tmp_path / "Subjects"
    described(tmp_path, "TST_001/2026-11-20/001")
    eid = fake.world.add_session("TST_001")
    done = fake.world.add_task(eid, "TaskDone", executable="seven_tasks.TaskDone")
    command = ["alyx", "serve", subjects, "--workers", "0", "--interval", "0.1"]
    with (tmp_path / "printed.txt").open("w") as printed:
        process = Forked(*command, env=environment, stdout=printed, stderr=subprocess.STDOUT)
    try:
        until(lambda: fake.world.tasks[done]["status"] == "Complete", process)
        path = described(tmp_path, "TST_002/2026-11-20/001")
        hangs = fake.world.add_task(fake.world.add_session("TST_002"), "TaskHangs", executable="seven_tasks.TaskHangs")
        until(lambda: (path / "begun.flag").exists(), process)
        assert fake.world.tasks[hangs]["status"] == "Started"
        assert '"host"' in fake.world.tasks[hangs]["log"]
        assert TOKEN.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        rival = call(environment, "run", str(subjects), "--workers", "0")
        assert rival[0] == 2
        assert "another program runs the tasks" in rival[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, (tmp_path / "printed.txt").read_text()
    finally:
        process.kill()
        process.wait()
    assert fake.world.tasks[hangs]["status"] == "Waiting"
    assert fake.world.files_of(eid) == ["alf/TaskDone/wheel.position.npy"]
    assert "raid_available" in fake.world.repositories["cortexlab_local"]["json"]
    assert not list(subjects.rglob("*.lock.json"))
    assert not list(subjects.rglob("lock.json"))
    for file in subjects.rglob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file
