"""A batch of healthy and sick sessions, disturbed at random moments in every way that a cluster knows.

`IBL_DASK_CHAOS_SESSIONS` sets the number of sessions (4 by default, 60 in the long form of the gate), and
`IBL_DASK_CHAOS_SEED` the seed, which messages name.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from published import assert_same, results

from ibl_dask.pipeline.run import run
from ibl_dask.synth.session import write_session

N_SESSIONS = int(os.environ.get("IBL_DASK_CHAOS_SESSIONS", "4"))
SEED = int(os.environ.get("IBL_DASK_CHAOS_SEED", "0"))
SICKNESSES = {
    "crashes": ("killed",),
    "is_wrong": ("bug",),
    "hangs": ("timeout",),
    "fills_memory": ("memory", "killed"),
    "prints": (),
    "lacks_module": ("environment",),
    "stale": (),
    "loses_disk": (),
    "cut video": ("corrupt_input", "missing_input"),
}
"""Sickness -> categories that its failure may have; none for one that a run survives."""
TASKS = "VideoRegisterRaw,VideoSyncQcNidq,sick_tasks.Sick"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """Return a small session, and what an undisturbed run publishes for it."""
    root = tmp_path_factory.mktemp("healthy")
    session = root / "lab" / "Subjects" / "SW_000" / "2023-05-01" / "001"
    session.mkdir(parents=True)
    write_session(session, duration_s=3, scale=0.125, gop=40)
    assert run([session], output_root=root / "out", tasks=["VideoRegisterRaw", "VideoSyncQcNidq"]).exit_code == 0
    return session, results(root / "out" / session.relative_to(root))


@pytest.fixture
def disk(tmp_path):
    """Return a folder, on a disk of its own where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={60 + 12 * N_SESSIONS}M"
    is_mounted = not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "none", folder], capture_output=True
    ).returncode
    yield folder
    if is_mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def make_batch(healthy, disk, rng):
    """Copy the session, and make half of the copies sick; return {session: sickness}."""
    kinds = list(SICKNESSES)
    n_sick = min(max(N_SESSIONS // 2, 2), 2 * len(kinds))
    sick = (kinds * 2)[:n_sick]
    sick += [""] * (N_SESSIONS - n_sick)
    rng.shuffle(sick)
    batch = {}
    for number, kind in enumerate(sick, 1):
        session = disk / "lab" / "Subjects" / f"SW_{number:03}" / "2023-05-01" / "001"
        shutil.copytree(healthy, session)
        if kind == "cut video":
            video = session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
            video.write_bytes(video.read_bytes()[: video.stat().st_size // 3])
        elif kind:
            (session / "raw_video_data" / "sick.txt").write_text(kind)
        batch[session] = kind
    return batch


WAYS = ("kill a worker", "kill the driver", "stop the driver", "fill the disk", "corrupt", "tear")


class Disturbance:
    """Disturbs a driver, its workers and its files."""

    def __init__(self, disk, work, rng):
        self.disk, self.work, self.rng = disk, work, rng
        self.done = []

    def strike(self, driver):
        """Do something bad; return False if that ended the driver."""
        how = self.rng.choice(
            ["kill a worker", "kill the driver", "stop the driver", "fill the disk", "corrupt", "tear"]
        )
        self.done.append(how)
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if how == "kill a worker":
                below = [p for p in psutil.Process(driver.pid).children(recursive=True) if "python" in p.name()]
                if below:
                    os.kill(self.rng.choice(below).pid, signal.SIGKILL)
            elif how == "stop the driver":
                os.kill(driver.pid, signal.SIGSTOP)
                time.sleep(self.rng.uniform(0.2, 2.0))
                os.kill(driver.pid, signal.SIGCONT)
            elif how == "fill the disk" and os.path.ismount(self.disk):
                self.fill_for_a_while()
            elif how == "corrupt":
                self.corrupt()
            elif how in ("kill the driver", "tear"):
                os.kill(driver.pid, signal.SIGKILL)
                driver.wait()
                if how == "tear":
                    self.tear()
                return False
        return True

    def fill_for_a_while(self):
        filler = self.disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        time.sleep(self.rng.uniform(0.5, 2.0))
        filler.unlink()

    def corrupt(self):
        """Overwrite the middle of a result of a chunk."""
        files = sorted(path for path in self.work.glob("scratch/**/*.npz") if path.stat().st_size > 100)
        if files:
            with contextlib.suppress(FileNotFoundError), self.rng.choice(files).open("r+b") as file:
                file.seek(50)
                file.write(bytes(40))

    def tear(self):
        """Cut the last line of the journal, as a power cut does."""
        journals = sorted(self.work.glob("runs/*/events-*.jsonl"), key=lambda path: path.stat().st_mtime)
        if journals:
            size = journals[-1].stat().st_size
            os.truncate(journals[-1], max(0, size - self.rng.randint(1, 60)))


def _start(listed, work, profile):
    program = [sys.executable, "-c", "from ibl_dask.cli.app import main; main()", "run", listed]
    options = ["--tasks", TASKS, "--work-dir", work, "--profile", profile, "--yes"]  # the disk may be full just then
    helpers = str(Path(sys.modules["published"].__file__).resolve().parent)
    environment = {**os.environ, "PYTHONPATH": helpers}
    with listed.with_name("printed.txt").open("a") as printed:
        return subprocess.Popen(
            [*map(str, [*program, *options])], env=environment, stdout=printed, stderr=subprocess.STDOUT
        )


@pytest.fixture
def start():
    """Return a function that starts a driver; what still runs at the end is killed before its disk is taken away."""
    started = []

    def start_driver(*places):
        started.append(_start(*places))
        return started[-1]

    yield start_driver
    for driver in started:
        if driver.poll() is None:
            driver.kill()
            driver.wait()


@pytest.mark.chaos
def test_every_healthy_session_is_whole_and_every_sick_one_has_its_reason(healthy, disk, start, tmp_path):
    rng = random.Random(SEED)
    template, expected = healthy
    batch = make_batch(template, disk, rng)
    listed, profile, work = tmp_path / "sessions.txt", tmp_path / "site.yaml", disk / "work"
    listed.write_text("\n".join(map(str, batch)))
    profile.write_text("workers: 2\nmemory_gb: 1.0\ndashboard_port: 0\ntime_outs: {Sick: 00:00:08}\n")
    disturbance = Disturbance(disk, work, rng)
    n_left = max(3, N_SESSIONS)
    driver = start(listed, work, profile)
    deadline = time.monotonic() + 120 + 40 * N_SESSIONS
    while driver.poll() is None or n_left < 0:
        assert time.monotonic() < deadline, disturbance.done
        time.sleep(rng.uniform(1.0, 5.0))
        if n_left and driver.poll() is None:
            n_left -= 1
            if not disturbance.strike(driver):
                driver = start(listed, work, profile)
    # What a last, quiet run finds and prints.
    (disk / "filler").unlink(missing_ok=True)
    driver = start(listed, work, profile)
    driver.wait(timeout=120 + 40 * N_SESSIONS)
    told = f"seed {SEED}: {disturbance.done}\n{listed.with_name('printed.txt').read_text()[-8000:]}"

    with (work / "status.json").open("w") as file:
        subprocess.run(
            [sys.executable, "-c", "from ibl_dask.cli.app import main; main()", "status", "--work-dir", work, "--json"],
            stdout=file,
            check=False,
        )
    rows = {row["session"]: row for row in json.loads((work / "status.json").read_text())["sessions"]}
    for session, kind in batch.items():
        row = rows.get(str(session)) or rows["/".join(session.parts[-3:])]
        categories = SICKNESSES.get(kind, ())
        alone = session / "raw_video_data" / "alone.txt"
        if kind == "cut video":
            assert row["tasks"]["Sick"] == "Held", (session, row, told)  # its parent failed
        else:
            assert "TWICE" not in alone.read_text(), told
        if not categories:
            assert set(row["tasks"].values()) == {"Complete"}, (session, row, told)
            assert_same(results(session), expected)
            assert not list((work / "scratch").glob(f"{session.parts[-3]}_*")), told
        else:
            failures = [each["failure"] for each in row["failures"]]
            assert failures, (session, kind, row, told)
            assert {failure["category"] for failure in failures} <= {*categories}, (session, kind, failures, told)
            assert all(failure["what"] for failure in failures)
            if kind != "cut video":
                logs = list((session / "ibl_dask" / "logs").glob("Sick*"))
                assert logs, told
        for log in (session / "ibl_dask" / "logs").glob("*.log"):
            assert log.stat().st_size < 25_000_000
    left = [path for path in disk.rglob("*") if path.name == "lock.json" or path.name.endswith(".tmp")]
    assert left == [], told
