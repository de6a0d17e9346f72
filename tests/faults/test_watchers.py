"""Nobody who watches can stop a run: readers that are gone, terminals, full disks under a log, listeners that raise."""

import asyncio
import fcntl
import logging
import os
import pty
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from program import PROGRAM, call, environment

import ibl_dask as ibd
from ibl_dask.model.events import RunFinished
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.run import run
from ibl_dask.store.journal import read_journal
from ibl_dask.store.run_summary import find_runs

pytestmark = pytest.mark.faults

SPECS = [TaskSpec("x", "turn_tasks.Noting", {"label": "x"})]
QUICK = ("--workers", "0", "--tasks", "VideoRegisterRaw")


@pytest.fixture
def empty(tmp_path):
    """Return a session without cameras."""
    folder = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    folder.mkdir(parents=True)
    (folder / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    return folder


class Raising:
    """A listener that raises, at the n-th event or at every one."""

    def __init__(self, error, at=None):
        self.error, self.at, self.n = error, at, 0

    def __call__(self, event):
        self.n += 1
        if self.at in (None, self.n):
            raise self.error


@pytest.mark.parametrize("at", [None, 1, 3])
@pytest.mark.parametrize(
    "error", [BrokenPipeError(), ValueError("a view"), SystemExit(1), asyncio.CancelledError(), RecursionError()]
)
def test_a_listener_that_raises_stops_neither_the_run_nor_the_others(empty, error, at):
    seen, raising = [], Raising(error, at)
    result = run([empty], specs=SPECS, listeners=[raising, seen.append])
    assert result.exit_code == 0
    assert isinstance(seen[-1], RunFinished)
    assert [event["event"] for event in read_journal(result.journal)] == [type(event).__name__ for event in seen]
    assert raising.n == (at or 1)
    (told,) = result.failed_listeners
    assert "Raising" in told
    assert type(error).__name__ in told


def test_ctrl_c_within_a_listener_is_ctrl_c(empty):
    assert run([empty], specs=SPECS, listeners=[Raising(KeyboardInterrupt(), 3)]).exit_code == 130


def test_a_notebook_that_cannot_show_the_dashboard_stops_nothing(monkeypatch):
    from ibl_dask.report.notebook import show_dashboard

    class Broken:
        def get_ipython(self):
            raise RuntimeError("no kernel")

    monkeypatch.setitem(sys.modules, "IPython", Broken())
    show_dashboard("http://localhost:1", "ssh")


def events_of(session):
    return [event["event"] for event in read_journal(find_runs(session.parents[2] / ".ibl_dask")[0].journal)]


@pytest.mark.parametrize("how", ["a reader that is gone", "a full disk", "closed", "all closed"])
def test_output_that_nobody_can_take_stops_no_run(session, how):
    command = [*PROGRAM, "run", str(session), *QUICK]
    options = {"env": environment(), "stderr": subprocess.PIPE}
    if how == "a reader that is gone":
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(command, stdout=writer, check=False, timeout=120, **options)
        os.close(writer)
    elif how == "a full disk":
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command, stdout=full, check=False, timeout=120, **options)
    else:
        shell = 'exec "$@" >&-' if how == "closed" else 'exec "$@" >&- <&- 2>&-'
        done = subprocess.run(["sh", "-c", shell, "sh", *command], check=False, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert events_of(session)[-1] == "RunFinished"
    assert (session / "ibl_dask" / "registration.json").exists()


def test_a_terminal_that_goes_away_stops_no_run(session):
    ours, theirs = pty.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [*PROGRAM, "run", str(session), "--workers", "0"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    deadline = time.monotonic() + 60
    while not (session / "ibl_dask" / "lock.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.close(ours)  # the kernel sends SIGHUP, and refuses every line from now on
    try:
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    assert events_of(session)[-1] == "RunFinished"
    assert (session / "alf" / "_ibl_leftCamera.times.npy").exists()


def test_a_reader_that_stops_reading_does_not_stop_the_run(session):
    """As `less` does, or Ctrl-S: what is printed last waits, and nothing else."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while os.write(writer, bytes(4096)):
            pass
    except BlockingIOError:
        os.set_blocking(writer, True)
    process = subprocess.Popen([*PROGRAM, "run", str(session), *QUICK], stdout=writer, env=environment())
    os.close(writer)
    deadline = time.monotonic() + 60
    work = session.parents[2] / ".ibl_dask"
    while not (find_runs(work) and events_of(session)[-1:] == ["RunFinished"]):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (session / "ibl_dask" / "lock.json").exists()
    with os.fdopen(reader, "rb") as file:
        text = file.read().strip(b"\0").decode()
    assert process.wait(timeout=60) == 0
    assert "journal:" in text


@pytest.fixture(scope="module")
def named_oddly(small, tmp_path_factory):
    """Return a session, run once, of a subject whose name ASCII does not hold."""
    folder = tmp_path_factory.mktemp("odd") / "lab" / "Subjects" / "größe_ü" / "2023-05-01" / "001"
    shutil.copytree(small, folder)
    assert run([folder]).exit_code == 0
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--json"),
        ("qc",),
        ("status",),
        ("run", "--tasks", "Größe", "--workers", "0"),
    ],
    ids=" ".join,
)
def test_what_the_encoding_of_the_terminal_does_not_hold_is_replaced(named_oddly, arguments):
    where = ("--work-dir", named_oddly.parents[2] / ".ibl_dask") if arguments[0] == "status" else (named_oddly,)
    code, text = call(arguments[0], *where, *arguments[1:], PYTHONIOENCODING="ascii")
    assert code == 0 or "Größe" in arguments or arguments == ("status",), text
    assert "gr" in text.lower()
    assert "codec can't encode" not in text


def test_what_a_program_reads_is_printed_whole_or_not_at_all(empty):
    with Path("/dev/full").open("w") as file:
        command = [*PROGRAM, "plan", "--json", str(empty)]
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, check=False, timeout=120, env=environment())
    assert done.returncode == 2, done.stderr
    assert b"disk is full" in done.stderr


class Talking(ibd.Task):
    """Logs, and leaves a file."""

    def _run(self, **kwargs):
        logging.getLogger(__name__).info("a line")
        (self.session.path / "made").touch()
        return self.session.path / "made"


def test_a_log_that_cannot_be_written_costs_no_result(empty):
    (empty / "ibl_dask").mkdir()
    (empty / "ibl_dask" / "logs").write_text("a file in the place of a folder")
    task = Talking(empty)
    assert task.run() == 0, task.failures
    assert task.outputs == [empty / "made"]
