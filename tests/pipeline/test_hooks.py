"""Commands that tell people of a run: real processes, good and bad, beside runs whose result they must not touch."""

import json
import stat
import sys
import time
from pathlib import Path

import pytest
from program import call
from waiting import is_gone, wait_until

from ibl_dask.deploy.doctor.facts import find_programs
from ibl_dask.deploy.doctor.finding import Importance
from ibl_dask.deploy.doctor.host_judgements import judge_hooks
from ibl_dask.deploy.site.profile import Profile
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.errors import UsageError
from ibl_dask.model import events
from ibl_dask.model.failure import Failure
from ibl_dask.model.status import Status
from ibl_dask.pipeline.hooks import Hooks
from ibl_dask.pipeline.run_outcome import Run, SessionOutcome

WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read()); print('told')"
FULL = Failure("DiskFull", "disk", "the disk is full", do="free some space")


def keeping(path):
    """Return a command that writes its standard input to a file."""
    return (sys.executable, "-c", WRITE, str(path))


def failed(number, failure=FULL):
    outcome = SessionOutcome(Path(f"/data/SW_001/2023-05-01/{number:03d}"), finished=True, started=True)
    outcome.tasks, outcome.failures = {"VideoCompress": Status.ERRORED}, [failure]
    return outcome


def done(number):
    path = Path(f"/data/SW_001/2023-05-01/{number:03d}")
    return SessionOutcome(path, tasks={"VideoCompress": Status.COMPLETE}, finished=True, started=True)


def run_of(folder, *outcomes):
    journal = folder / "runs" / "20260101T000000-abcdef"
    journal.mkdir(parents=True)
    return Run(journal.name, journal, list(outcomes), 0, seconds=12)


def test_the_end_of_a_run_is_told_with_states_failures_and_places(tmp_path):
    told = {name: tmp_path / f"{name}.json" for name in ("on_finish", "on_failure", "on_pause")}
    hooks = Hooks({name: keeping(path) for name, path in told.items()}, "ibl-dask run /data")
    other = Failure("NoPulses", "missing_input", "no pulses")
    run = run_of(tmp_path, failed(1, other), *map(failed, range(2, 7)), done(8), SessionOutcome(Path("/data/x")))
    assert hooks.finish(run, tmp_path / "cohort.html") == []
    found = json.loads(told["on_failure"].read_text())
    assert found["sessions"] == {"all": 8, "failed": 6, "done": 1, "not started": 1}
    assert [(g["category"], g["what"], g["n_sessions"], len(g["sessions"])) for g in found["failures"]] == [
        ("disk", "the disk is full", 5, 3),
        ("missing_input", "no pulses", 1, 1),
    ]
    assert (found["run"], found["state"], found["seconds"]) == (run.name, "failed", 12)
    assert (found["journal"], found["go_on"]) == (str(run.journal), "ibl-dask run /data")
    assert found["report"] == str(tmp_path / "cohort.html")
    assert "5 x disk: the disk is full" in found["text"]
    assert json.loads(told["on_finish"].read_text())["occasion"] == "on_finish"
    assert not told["on_pause"].exists()


def test_a_run_without_failures_tells_its_end_alone(tmp_path):
    told = {name: tmp_path / name for name in ("on_finish", "on_failure")}
    assert Hooks({name: keeping(path) for name, path in told.items()}).finish(run_of(tmp_path, done(1))) == []
    assert json.loads(told["on_finish"].read_text())["state"] == "done"
    assert not told["on_failure"].exists()


def test_the_output_of_a_command_is_kept_in_the_folder_of_the_run(tmp_path):
    run = run_of(tmp_path, done(1))
    Hooks({"on_finish": keeping(tmp_path / "x")}).finish(run)
    assert (run.journal / "on_finish.log").read_text() == "told\n"


def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1], 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(600)\n"
    )
    started_s = time.monotonic()
    (warning,) = Hooks({"on_finish": (sys.executable, "-c", code, str(pids))}, time_out_s=5.0).finish(run_of(tmp_path))
    assert "more than 5 s" in warning
    assert time.monotonic() - started_s < 30
    for pid in map(int, pids.read_text().split()):
        wait_until(lambda: is_gone(pid), 60)  # noqa: B023  # called at once


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ((sys.executable, "-c", "print('no mail server'); raise SystemExit(3)"), "ended with status 3"),
        (("/nowhere/tell",), "could not be started"),
        (("/",), "could not be started"),
    ],
)
def test_a_command_that_does_not_work_is_one_warning(tmp_path, command, part):
    (warning,) = Hooks({"on_finish": command}).finish(run_of(tmp_path, done(1)))
    assert warning.startswith("on_finish")
    assert part in warning


def test_a_command_that_does_not_read_is_no_problem(tmp_path):
    run = run_of(tmp_path, *(failed(n, Failure("X", "bug", "x" * 5000 + str(n))) for n in range(100)))
    assert Hooks({"on_failure": ("true",)}).finish(run) == []


def test_a_pause_is_told_while_the_run_goes_on_and_once_for_a_reason(tmp_path):
    told = tmp_path / "told"
    told.mkdir()
    code = "import sys, pathlib, uuid; pathlib.Path(sys.argv[1], uuid.uuid4().hex).write_text(sys.stdin.read())"
    hooks = Hooks({"on_pause": (sys.executable, "-c", code, str(told))})
    running = SessionOutcome(Path("/data/SW_001/2023-05-01/002"), started=True)
    run = run_of(tmp_path, done(1), running, SessionOutcome(Path("/data/SW_001/2023-05-01/003")))
    listen = hooks.watch(run)
    for place, time_s in (("/data", 1000.0), ("/data", 1010.0), ("/scratch", 1020.0), ("/data", 5000.0)):
        listen(events.RunPaused(place, FULL, time_s))
    assert hooks.finish(run) == []
    found = [json.loads(path.read_text()) for path in told.iterdir()]
    assert sorted(each["pause"]["place"] for each in found) == ["/data", "/data", "/scratch"]
    assert found[0]["state"] == "paused"
    assert found[0]["sessions"] == {"all": 3, "done": 1, "running": 1, "waiting": 1}
    assert found[0]["pause"]["failure"]["do"] == "free some space"


# -- in the profile --------------------------------------------------------------------------------------------------


def profile(folder, text):
    path = folder / "site.yaml"
    path.write_text(text)
    return path


def test_commands_are_lists_of_words_or_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    text = "workers: 1\non_finish: [mail, -s, a run, me@lab.org]\non_failure: mail -s 'a run' me@lab.org\n"
    found = read_profile(profile(tmp_path, text + "on_pause: ~/bin/tell\n"))
    assert found.on_finish == found.on_failure == ("mail", "-s", "a run", "me@lab.org")
    assert found.on_pause == ("/home/me/bin/tell",)
    assert read_profile(profile(tmp_path, "workers: 1\n")).hooks == {"on_finish": (), "on_failure": (), "on_pause": ()}


@pytest.mark.parametrize("value", ["3", "[]", "''", "[a, 3]", "'mail \"x'", "{a: b}", '["a\\0b"]', '[" "]', "~"])
def test_a_command_that_is_none_is_named_with_its_line(tmp_path, value):
    with pytest.raises(UsageError) as caught:
        read_profile(profile(tmp_path, f"workers: 1\non_finish: {value}\n"))
    assert caught.value.where.endswith("line 2")
    assert "list of words" in caught.value.expected


def test_the_doctor_looks_for_the_programs(tmp_path):
    site = Profile(on_finish=("sh", "-c", "true"), on_pause=("no_such_program_here",))
    fine, missing = judge_hooks(find_programs(["sh", "no_such_program_here"]), site)
    assert (fine.check, fine.importance, Path(fine.found).name) == ("on_finish", Importance.OK, "sh")
    assert (missing.check, missing.importance) == ("on_pause", Importance.PROBLEM)
    assert "no_such_program_here" in missing.do


# -- with the program ------------------------------------------------------------------------------------------------


def test_the_program_tells_its_end_and_a_bad_command_leaves_its_exit_code(tmp_path):
    session = tmp_path / "Subjects" / "SW_001" / "2023-05-01" / "001"
    session.mkdir(parents=True)
    script = tmp_path / "tell"
    script.write_text(f"#!/bin/sh\ncat > {tmp_path}/told.json\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    text = f"workers: 1\non_finish: {script}\non_failure: [sh, -c, 'exit 9']\n"
    site = profile(tmp_path, text)
    code, printed = call("run", session, "--workers", "0", "--profile", site, "--work-dir", tmp_path / "work")
    assert code == 1
    assert "warning: on_failure (sh): it ended with status 9" in printed
    found = json.loads((tmp_path / "told.json").read_text())
    assert found["sessions"] == {"all": 1, "failed": 1}
    assert found["failures"][0]["sessions"] == [str(session)]
    assert Path(found["journal"]).exists()
