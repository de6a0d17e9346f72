"""What is said while a step runs is in the log of its task, and nowhere else; a log never costs a result."""

import io
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import speaking
from hypothesis import given, settings
from hypothesis import strategies as st
from simple_steps import Calling
from speaking import WAYS, Speaks, Turns

import ibl_dask as ibd
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.model.step import StepKey
from ibl_dask.model.task_log import TaskLog
from ibl_dask.pipeline.in_process import InProcess
from ibl_dask.pipeline.isolation import Death, run_in_own_process
from ibl_dask.pipeline.run import run
from ibl_dask.store.task_log_reader import find_attempts, last_words, read_attempt
from ibl_dask.tasks.external.child_process import run_child
from ibl_dask.tasks.run_step import run_step
from ibl_dask.tasks.step_log import StepLog


def log_in(folder, task="Speaks", **more) -> TaskLog:
    return TaskLog(Path(folder) / task, task, 1, **more)


def step_of(function, log, name="speak", **arguments):
    return Calling(called=name, session="s", function=function, arguments=arguments, task_log=log, parts=name)


def records_of(folder, task="Speaks", number=None):
    attempts = [each for each in find_attempts(Path(folder) / task) if number in (None, each.number)]
    return list(read_attempt(attempts[-1])) if attempts else []


def texts_of(folder, task="Speaks", number=None):
    """Return level and text of each record of the steps."""
    found = [record.rstrip("\n").split(" ", 5) for record in records_of(folder, task, number)]
    columns = [(record[1], " ".join(record[2:])) for record in found]
    return [(level, rest.split(f"#{number or 1} ", 1)[1]) for level, rest in columns]


def global_state():
    loggers = {name: logging.getLogger(name).level for name in ("", "ibl_dask", "speaking", "simple_steps")}
    return loggers, list(logging.getLogger().handlers), sys.stdout, sys.stderr, warnings.showwarning


lines_of_steps = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(WAYS)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60)
@given(said=lines_of_steps)
def test_what_steps_say_at_once_in_one_process_never_mixes(tmp_path_factory, said):
    """Threads 0 to 2 run a step each; thread 3 runs none, so what it says goes where it always does."""
    folder = tmp_path_factory.mktemp("logs")
    before = global_state()
    printed = io.StringIO()
    turns = Turns([who for who, _ in said])
    lines = {who: [(way, f"<{who}.{n}>") for n, (by, way) in enumerate(said) if by == who] for who in range(4)}
    records = {}

    def work(who):
        if who == 3:
            speaking.speak(None, who, turns, lines[who])
            return
        step = step_of(speaking.speak, log_in(folder, f"T{who}"), f"step{who}", who=who, turns=turns, lines=lines[who])
        records[who] = run_step(step, [], folder)

    with warnings.catch_warnings(), redirect_stdout(printed), redirect_stderr(printed):
        warnings.simplefilter("always")
        shown = []
        warnings.showwarning = lambda message, *_: shown.append(str(message))
        outside = (*global_state()[:-1], warnings.showwarning)
        threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert global_state() == outside
    assert global_state() == before
    assert all(record.status == "done" for record in records.values())
    for who in range(3):
        found = "".join(record for record in records_of(folder, f"T{who}"))
        numbers = [part.split(">")[0] for part in found.split("<")[1:]]
        expected = [text[1:-1] for _, text in lines[who]]
        assert sorted(numbers) == sorted(expected)
        whole = {way: [text for by, text in lines[who] if by == way] for way in ("log", "warning", "error")}
        for texts in whole.values():  # in the order in which it was said
            assert [found.index(text) for text in texts] == sorted(found.index(text) for text in texts)
    of_thread = [(way, text) for way, text in lines[3] if way != "log"]
    assert all(text in (shown if way == "warning" else printed.getvalue()) for way, text in of_thread)
    assert all(
        f"<{who}." not in printed.getvalue() and not any(f"<{who}." in text for text in shown) for who in range(3)
    )


def test_a_step_leaves_its_start_its_end_and_what_it_says_and_one_that_is_silent_and_kept_leaves_nothing(tmp_path):
    log = log_in(tmp_path)

    def talk(upstream):
        logging.getLogger("ibl_dask.somewhere").info("of this package")
        logging.getLogger("another_library").warning("careful: %s", "hot")
        logging.getLogger("another_library").info("a detail")
        logging.getLogger("tornado.access").warning("of the machinery")
        print("a", "b")
        sys.stdout.write("no end of line")
        return {}

    assert run_step(step_of(talk, log), [], tmp_path).status == "done"
    assert run_step(step_of(lambda upstream: ibd.pipeline.run and _kept(), log, "kept"), [], tmp_path).status == "kept"
    (title, first, *rest, last) = texts_of(tmp_path)
    assert "attempt 1 of Speaks" in title[1]
    assert first == ("INFO", "started")
    assert rest == [
        ("INFO", "[ibl_dask.somewhere] of this package"),
        ("WARNING", "[another_library] careful: hot"),
        ("STDOUT", "a b"),
        ("STDOUT", "no end of line"),
    ]
    assert re.match(r"done in \d+\.\d", last[1])


def _kept():
    from ibl_dask.model.result import Result

    return Result(is_kept=True)


def test_a_failure_leaves_its_whole_traceback_and_a_bug_names_the_log(tmp_path):
    def outer(upstream):
        try:
            raise KeyError("the cause")
        except KeyError as error:
            raise ZeroDivisionError("one by nothing\nin two lines") from error

    session = tmp_path / "S" / "2026-01-01" / "001"
    log = log_in(session / "ibl_dask" / "logs")
    record = run_step(step_of(outer, log), [], session)
    (text,) = [text for level, text in texts_of(log.folder.parent) if level == "ERROR"]
    assert re.match(r"failed after \d+\.\d", text)
    assert text.count("Traceback (most recent call last)") == 2
    assert "    ZeroDivisionError: one by nothing\n    in two lines" in text
    assert record.failure.message.endswith(f"Its log: ibl-dask logs {session} Speaks.")
    assert str(tmp_path) in record.failure.notes[0]


def test_unicode_colours_and_progress_bars_read_as_they_end(tmp_path):
    def progress(upstream):
        for n in range(0, 101, 10):
            sys.stderr.write(f"\r{n:3d}%|{'█' * (n // 10)}|")
        sys.stderr.write("\n")
        sys.stdout.write("windows\r\nlines\r\n")
        print("\x1b[31mred\x1b[0m ünï ☃ \udc80 \x07")
        print()
        return {}

    run_step(step_of(progress, log_in(tmp_path)), [], tmp_path)
    said = [text for level, text in texts_of(tmp_path) if level in ("STDOUT", "STDERR")]
    assert said == ["100%|██████████|", "windows", "lines", "red ünï ☃ \\udc80 \\x07", ""]


def test_what_prints_without_end_fills_neither_disk_nor_memory(tmp_path):
    log = log_in(tmp_path, most_bytes=200_000)
    record = run_step(step_of(speaking.print_much, log, n_lines=30_000), [], tmp_path)
    assert record.status == "done"
    assert sum(path.stat().st_size for path in log.folder.iterdir()) < 220_000
    texts = [text for _, text in texts_of(tmp_path)]
    assert any(text.startswith("<0> ") for text in texts)
    assert texts[-2].startswith("<29999> ")
    assert texts[-1].startswith("done in ")


def test_the_output_of_a_child_process_is_there_in_order_and_bounded(tmp_path):
    program = (
        "import os, subprocess, sys\n"
        "for n in range(20_000): print(f'<{n}>', file=sys.stderr if n % 2 else sys.stdout, flush=n < 100)\n"
        "sys.stdout.flush()\n"
        "subprocess.run(['sh', '-c', 'echo of a grandchild; printf \"no end\"'])\n"
    )
    log = StepLog(log_in(tmp_path, most_bytes=300_000), "child")
    code = run_child(
        [sys.executable, "-c", program], folder=tmp_path, log=log, variables=dict(os.environ), timeout_s=60
    )
    log.close()
    assert code == 0
    texts = [text for _, text in texts_of(tmp_path)]
    first = [text for text in texts if text.startswith("<")][:100]
    assert first == [f"<{n}>" for n in range(100)]
    assert texts[-2:] == ["of a grandchild", "no end"]
    assert sum(path.stat().st_size for path in log.log.folder.iterdir()) < 400_000
    assert log.tail.endswith("of a grandchild / no end")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_step_that_is_killed_leaves_what_it_said_also_past_python(tmp_path, number):
    log = log_in(tmp_path)
    step = step_of(speaking.speak_and_die, log, number=int(number))
    from distributed.protocol.pickle import dumps

    death = run_in_own_process(dumps(step), step.key, tmp_path, [], log=log)
    assert isinstance(death, Death)
    texts = texts_of(tmp_path)
    for expected in (
        ("INFO", "started"),
        ("WARNING", "[speaking.part] said by log"),
        ("STDOUT", "said by print"),
        ("STDERR", "said by error"),
        ("STDERR", "said past Python"),
    ):
        assert expected in texts
    assert number == signal.SIGKILL or any("Fatal Python error: Segmentation fault" in text for _, text in texts)
    level, text = texts[-1]
    assert (level, text.startswith(f"its process ended: signal {number.name}")) == ("ERROR", True)


def test_a_step_that_cannot_be_loaded_says_why_in_the_log(tmp_path):
    log = log_in(tmp_path)
    record = run_in_own_process(b"no pickle", StepKey("times-left", "s", "f", 0), tmp_path, [], log=log)
    assert record.status == "failed"
    (level, text) = texts_of(tmp_path)[-1]
    assert (level, "Traceback" in text) == ("ERROR", True)
    assert text.startswith("its module cannot be imported: ")


FULL = """
import os, resource, sys
from pathlib import Path
import speaking
from simple_steps import Calling
from ibl_dask.model.task_log import TaskLog
from ibl_dask.tasks.run_step import run_step

folder = Path(sys.argv[1])
log = TaskLog(folder / "Speaks", "Speaks", 1)
def step(n):
    return Calling(called="much", session="s", function=speaking.print_much, arguments={"n_lines": n}, task_log=log)
assert run_step(step(1), [], folder).status == "done"
(path,) = log.folder.iterdir()
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 500, resource.RLIM_INFINITY))
record = run_step(step(50), [], folder)
assert record.status == "done", record.failure
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert run_step(step(2), [], folder).status == "done"
"""


def test_on_a_full_disk_a_step_is_done_all_the_same_and_later_ones_are_logged_again(tmp_path):
    helpers = str(Path(speaking.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": helpers},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "<49>" in done.stdout, "what finds no place in the log is printed"
    texts = [text for _, text in texts_of(tmp_path)]
    assert texts[-3].startswith("<0> ")
    assert texts[-2].startswith("<1> ")
    assert texts[-1].startswith("done in ")


def test_a_task_run_by_hand_is_logged_and_shows_what_it_prints(session_folder, capsys):
    task = Speaks(session_folder)
    assert task.run() == 0
    said = capsys.readouterr()
    assert "progress: 100%" in said.out
    assert "ünicode letters 😀" in said.err
    logs = session_folder / "ibl_dask" / "logs"
    texts = texts_of(logs)
    assert ("INFO", "[speaking] at work on 001") in texts
    assert ("STDOUT", "progress: 100%") in texts
    assert not any("machinery" in text for _, text in texts)
    assert texts[-1][1] == "ended: Complete; steps: 1 done"
    for level, text in texts[1:]:
        assert f"{level:<7}" in task.log
        assert text in task.log


def test_attempts_are_kept_over_runs_and_runs_without_work_make_none(session_folder):
    logs = session_folder / "ibl_dask" / "logs"
    broken = session_folder / "break.txt"
    broken.touch()
    Speaks.__module__ = "speaking"
    first = run([session_folder], tasks=["speaking.Speaks"])
    (failure,) = first.sessions[0].failures
    assert f"ibl-dask logs {session_folder} Speaks" in failure.message
    broken.unlink()
    second = run([session_folder], tasks=["speaking.Speaks", "VideoSyncQC_nidq"])
    assert second.exit_code == 0, second.sessions[0].failures
    one, two = find_attempts(logs / "Speaks")
    assert (last_words(one).status, last_words(two).status) == ("Errored", "Complete")
    assert "a bug of this lab" in "".join(read_attempt(one))
    assert f"attempt 2 of Speaks (speaking.Speaks), run {second.name}" in "".join(read_attempt(two))

    video = records_of(logs, "VideoSyncQC_nidq")
    for name in ("index-left", "times-body", "framepass-right/0", "publish"):
        assert any(f" {name} #1 done in" in record for record in video)
    assert run([session_folder], tasks=["VideoRegisterRaw", "VideoSyncQC_nidq"]).exit_code == 0
    again = "".join(records_of(logs, "VideoSyncQC_nidq"))
    assert "qc-left #2 done in" in again
    assert "framepass" not in again
    assert ", 9 kept" in again


def test_results_elsewhere_have_their_logs_there(session_folder, tmp_path):
    class Elsewhere(Speaks):
        writes_elsewhere = True

        def _run(self, **kwargs):
            print("said elsewhere")
            return []

    task = Elsewhere(session_folder, output_root=tmp_path / "out")
    assert task.run() == 0
    assert not (session_folder / "ibl_dask").exists()
    assert ("STDOUT", "said elsewhere") in texts_of(task.session.own / "logs", "Elsewhere")


def test_a_linked_folder_of_logs_is_not_written_through(session_folder, tmp_path):
    other = tmp_path / "of another"
    other.mkdir()
    (session_folder / "ibl_dask" / "logs").mkdir(parents=True)
    (session_folder / "ibl_dask" / "logs" / "Speaks").symlink_to(other)
    assert Speaks(session_folder).run() == 0
    assert list(other.iterdir()) == []


def test_steps_on_workers_leave_their_lines_and_the_driver_the_end(session_folder):
    with connect(this_machine(1, dashboard_port=0)) as client:
        outcome = run([session_folder], client=client, tasks=["speaking.Speaks"])
    assert outcome.exit_code == 0, outcome.sessions[0].failures
    logs = session_folder / "ibl_dask" / "logs"
    assert ("INFO", "[speaking] at work on 001") in texts_of(logs)
    *of_worker, of_driver = [record.split()[2] for record in records_of(logs)]
    assert of_driver == f"{os.uname().nodename}:{os.getpid()}"
    assert len(set(of_worker)) == 1
    assert of_driver not in of_worker
    assert texts_of(logs)[-1][1] == "ended: Complete; steps: 1 done"


def test_each_trial_at_a_step_is_told_apart(tmp_path, monkeypatch):
    def fails_first(upstream):
        print("at work")
        if not any("failed" in record for record in records_of(tmp_path)):
            raise ConnectionResetError(0, "a server that is gone")
        return {}

    monkeypatch.setattr("ibl_dask.store.disk.RETRY_PAUSES_S", ())
    monkeypatch.setattr("ibl_dask.pipeline.attempts.PAUSES_S", (0.01,))
    executor = InProcess()
    executor.submit([step_of(fails_first, log_in(tmp_path))], tmp_path, {}, 0)
    (record,) = executor.completed()
    assert record.status == "done", record.failure
    trials = [each.split(" ")[0] for each in "".join(records_of(tmp_path)).split("#")[1:]]
    assert trials == ["1", "1", "1", "1", "1.2", "1.2", "1.2"]
