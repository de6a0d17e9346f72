"""Sessions that are not here: their files are brought over HTTP, checked, run, and let go."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest
from described import CAMERA, SYNCS
from small_disks import fill, mounted

from ibl_dask.alyx.data_login import DataLogin
from ibl_dask.alyx.downloads import DownloadLimits, Downloads
from ibl_dask.alyx.fetch_feed import FetchBounds, FetchFeed
from ibl_dask.alyx.fetch_session import UNKNOWN_BYTES, FetchPlace, SessionFetcher
from ibl_dask.alyx.pacing import Backoff
from ibl_dask.alyx.remote_files import RemoteFile
from ibl_dask.alyx.wanted_files import Reader, choose
from ibl_dask.cli.app import app
from ibl_dask.model.events import SessionFinished
from ibl_dask.model.signature import ExpectedDataset
from ibl_dask.pipeline.run import run

DESCRIPTION = f"devices:\n{CAMERA}sync: {SYNCS['nidq']}\nversion: '1.0.0'\n".encode()
TASK = "reading_tasks.Copies"
POSITION, TIMES = b"position" * 50_000, b"timestamps" * 1000
QUICK = DownloadLimits(2.0, 20.0, Backoff(0.001, 0.01, 4))


@pytest.fixture
def add(fake):
    """Add a session with its files on the server; return its identifier and the paths of its datasets."""

    def add(number: int = 1, **files: bytes) -> str:
        eid = fake.world.add_session("SW_001", number=number)
        fake.world.add_file(eid, "_ibl_experiment.description.yaml", DESCRIPTION)
        fake.world.add_file(eid, "raw_wheel/wheel.position.npy", POSITION)
        fake.world.add_file(eid, "raw_wheel/wheel.timestamps.npy", TIMES)
        fake.world.add_file(eid, "raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.ap.cbin", b"huge")
        return eid

    return add


@pytest.fixture
def fetch(alyx, tmp_path: Path):
    """Run sessions by their identifiers."""

    def call(*eids: str, local: tuple[Path, ...] = (), bounds: FetchBounds | None = None, **options):
        place = FetchPlace(tmp_path / "cache", {"tasks": [TASK], "skip_absent": True})
        feed = FetchFeed(alyx, local, eids, place, bounds, limits=QUICK, **options)
        with feed:
            return run(feed, tasks=[TASK], work_dir=tmp_path / "work", listeners=[feed])

    return call


def folder(tmp_path: Path, number: int = 1) -> Path:
    return tmp_path / "cache" / "cortexlab" / "Subjects" / "SW_001" / "2026-11-20" / f"{number:03}"


def failure_of(result) -> str:
    return "; ".join(failure.message for outcome in result.sessions for failure in outcome.failures)


def test_a_session_is_brought_with_what_its_tasks_read_and_nothing_else(fake, add, fetch, tmp_path: Path) -> None:
    result = fetch(add())
    assert result.exit_code == 0, failure_of(result)
    path = folder(tmp_path)
    assert (path / "alf" / "wheel.copy.npy").read_bytes() == POSITION + b"+"
    assert not (path / "raw_ephys_data").exists()
    assert not list(path.rglob("*.part"))
    n_requests = len(fake.file_requests)
    assert n_requests == 3
    assert fetch(next(iter(fake.world.sessions))).exit_code == 0
    assert len(fake.file_requests) == n_requests, "files that are here came again"


@pytest.mark.parametrize("kind", ["truncate", "503", "wrong", "drop_before"])
def test_a_failure_that_passes_costs_another_try(fake, add, fetch, tmp_path: Path, kind: str) -> None:
    eid = add()
    fake.faults.plan(kind, "GET", "/flatiron/cortexlab/Subjects/SW_001/2026-11-20/001/raw_wheel/wheel.position")
    result = fetch(eid)
    assert result.exit_code == 0, failure_of(result)
    assert (folder(tmp_path) / "raw_wheel" / "wheel.position.npy").read_bytes() == POSITION
    asked = [start for path, start, _ in fake.file_requests if "wheel.position" in path]
    assert len(asked) == 2
    assert asked[1].startswith("bytes=") == (kind == "truncate"), "a part that came is continued"


def test_a_session_that_cannot_be_had_fails_alone_and_by_name(fake, add, fetch, tmp_path: Path) -> None:
    missing, wrong, bare = add(1), add(2), add(3)
    fine = add(5)
    world = fake.world
    world.files = {path: content for path, content in world.files.items() if "/001/raw_wheel/wheel.pos" not in path}
    world.add_file(wrong, "raw_wheel/wheel.position.npy", POSITION, hash="0" * 32)
    for row in world.datasets.values():
        row["name"] = row["name"] if row["session"] != bare else "nothing"
        for record in row["file_records"]:
            record["exists"] = row["session"] != bare
    unknown = "f9502295-bd4c-4643-99a6-99278d7d75ac"
    result = fetch(missing, wrong, bare, unknown, fine)
    ended = {outcome.path.name: outcome for outcome in result.sessions}
    for name, text in (("001", "status 404"), ("002", "MD5"), ("003", "no server has files"), (unknown, "no session")):
        assert text in " ".join(failure.message for failure in ended[name].failures), name
        assert all(failure.do for failure in ended[name].failures)
    assert ended["005"].is_success
    assert not (folder(tmp_path, 2) / "raw_wheel" / "wheel.position.npy").exists(), "a wrong file got a name"


@pytest.mark.parametrize(
    ("collection", "name"),
    [
        ("..", "x.ap.meta"),
        ("ibl_dask", "x.ap.meta"),
        ("./ibl_dask", "x.ap.meta"),
        ("./", "ibl_dask/x.ap.meta"),
        ("", "../x.ap.meta"),
        ("a/b", "c\\x.ap.meta"),
    ],
)
def test_no_dataset_leads_out_of_its_session(fake, add, fetch, tmp_path: Path, collection: str, name: str) -> None:
    evil, fine = add(1), add(2)
    key = fake.world.add_file(evil, "raw_ephys_data/x.ap.meta", b"evil")
    fake.world.datasets[key].update(collection=collection, name=name)
    result = fetch(evil, fine)
    assert [outcome.is_success for outcome in result.sessions] == [False, True]
    assert "does not stay inside" in failure_of(result)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith("x.ap.meta")]


@pytest.mark.parametrize(
    ("collection", "name"), [("raw;touch HIT;", "x.ap.meta"), ("raw", "$(touch HIT).ap.meta"), ("-rf", "x.ap.meta")]
)
def test_no_dataset_has_a_name_that_a_shell_would_run(fake, add, fetch, tmp_path, collection: str, name: str) -> None:
    evil, fine = add(1), add(2)
    key = fake.world.add_file(evil, "raw_ephys_data/x.ap.meta", b"evil")
    fake.world.datasets[key].update(collection=collection, name=name)
    result = fetch(evil, fine)
    assert [outcome.is_success for outcome in result.sessions] == [False, True]
    assert "cannot be part of a path here" in failure_of(result)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith("x.ap.meta")]


@pytest.mark.parametrize("subject", ["x;touch HIT;", "$(touch HIT)", "-rf", "a b"])
def test_no_session_of_such_a_name_is_fetched(fake, fetch, tmp_path: Path, subject: str) -> None:
    eid = fake.world.add_session(subject)
    fake.world.add_file(eid, "_ibl_experiment.description.yaml", DESCRIPTION)
    result = fetch(eid)
    assert "the subject of a session cannot be part of a path here" in failure_of(result)
    assert not (tmp_path / "cache").exists()


def test_two_spellings_of_a_place_are_one_file(fake, add, fetch, tmp_path: Path) -> None:
    eid = add()
    for key, row in fake.world.datasets.items():
        if row["name"] == "wheel.position.npy":
            fake.world.datasets[key].update(collection="./raw_wheel//")
    assert fetch(eid).exit_code == 0
    record = json.loads((folder(tmp_path) / "ibl_dask" / "fetched.json").read_text())
    assert "raw_wheel/wheel.position.npy" in record["files"]


def test_no_link_in_a_session_leads_a_file_out_of_it(add, fetch, tmp_path: Path) -> None:
    eid, outside = add(), tmp_path / "outside"
    fetch(eid)
    shutil.rmtree(folder(tmp_path) / "raw_wheel")
    outside.mkdir()
    (folder(tmp_path) / "raw_wheel").symlink_to(outside)
    assert "a link leads out of the session" in failure_of(fetch(eid))
    assert not list(outside.iterdir())


def test_a_full_disk_is_waited_for_and_what_came_before_is_kept(fake, add, fetch, tmp_path, monkeypatch) -> None:
    every_s = 0.101  # no other pause is as long
    monkeypatch.setattr("ibl_dask.alyx.fetch_feed.LOOKED_EVERY_S", every_s)
    # Bytes that no server announces: the disk is full in the middle of a file, and not before.
    big = bytes(range(256)) * 30_000
    with mounted(tmp_path / "cache") as disk:
        eid, second = fake.world.add_session("SW_001", number=1), add(2)
        fake.world.add_file(eid, "_ibl_experiment.description.yaml", DESCRIPTION)
        fake.world.add_file(eid, "raw_wheel/wheel.position.npy", big, file_size=None)
        fake.world.add_file(eid, "raw_wheel/wheel.timestamps.npy", TIMES)
        fill(disk, leaving=4 << 20)
        looked, sleep = [], FetchFeed._sleep

        def emptied_after_two_looks(self, seconds: float) -> None:
            if seconds == every_s:
                looked.append(seconds)
            if len(looked) == 2:
                (disk / "filler").unlink(missing_ok=True)
            sleep(self, seconds)

        monkeypatch.setattr(FetchFeed, "_sleep", emptied_after_two_looks)
        result = fetch(eid, second)
        assert result.exit_code == 0, failure_of(result)
        assert (folder(tmp_path) / "raw_wheel" / "wheel.position.npy").read_bytes() == big
    starts = [start for path, start, _ in fake.file_requests if "/001/raw_wheel/wheel.position" in path]
    assert len(starts) > 1
    assert starts[-1].startswith("bytes="), "what came was asked for again"


def test_a_disk_that_stays_full_fails_the_session_after_the_longest_pause(add, fetch, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("ibl_dask.alyx.fetch_feed.LOOKED_EVERY_S", 0.1)
    with mounted(tmp_path / "cache") as disk:
        fill(disk, leaving=200_000)
        result = fetch(add(1), bounds=FetchBounds(longest_pause_s=0.5))
        failures = [failure for outcome in result.sessions for failure in outcome.failures]
        assert [(failure.kind, failure.category) for failure in failures] == [("NoRoomToFetch", "disk")]
        assert not list(disk.rglob("wheel.position*.npy"))


def test_fetched_files_go_after_success_and_nothing_else_does(fake, add, fetch, tmp_path: Path) -> None:
    first, second = add(1), add(2)
    path = folder(tmp_path, 1)
    fake.world.files = {name: file for name, file in fake.world.files.items() if "/002/raw_wheel/" not in name}
    result = fetch(first, second, bounds=FetchBounds(most_ahead=1, most_bytes=10, evicts=True))
    assert [outcome.is_success for outcome in result.sessions] == [True, False]
    assert not (path / "raw_wheel").exists()
    assert (path / "alf" / "wheel.copy.npy").exists()
    assert (folder(tmp_path, 2) / "_ibl_experiment.description.yaml").exists(), "a failed session keeps its files"
    record = json.loads((path / "ibl_dask" / "fetched.json").read_text())
    assert record["session_id"] == first
    assert "raw_wheel/wheel.position.npy" in record["files"]


def test_a_file_that_was_changed_is_neither_replaced_nor_evicted(add, fetch, tmp_path: Path) -> None:
    eid = add()
    fetch(eid)
    changed = folder(tmp_path) / "raw_wheel" / "wheel.timestamps.npy"
    changed.write_bytes(b"by hand")
    fetch(eid, bounds=FetchBounds(evicts=True))
    assert changed.read_bytes() == b"by hand"
    assert not (folder(tmp_path) / "raw_wheel" / "wheel.position.npy").exists()


def test_no_more_is_fetched_than_may_wait(fake, add, alyx, tmp_path: Path) -> None:
    eids = [add(number) for number in range(1, 5)]
    bounds = FetchBounds(most_ahead=10, most_bytes=2 * (len(POSITION) + len(TIMES) + len(DESCRIPTION)))
    feed = FetchFeed(alyx, (), eids, FetchPlace(tmp_path / "cache", {"tasks": [TASK]}), bounds, limits=QUICK)

    def take(n: int, patience_s: float) -> list[Path]:
        taken: list[Path] = []
        end = time.monotonic() + patience_s
        while len(taken) < n and time.monotonic() < end:
            path = feed.take()
            taken += [] if path is None else [path]
            time.sleep(0.005)
        return taken

    with feed:
        first = take(2, 20.0)
        assert len(first) == 2
        assert not take(1, 0.3), "sessions beyond the bound came"
        assert not feed.is_over
        feed(SessionFinished(str(first[0]), True, {}, "", None, 0.0))
        assert len(take(1, 20.0)) == 1
        assert not take(1, 0.1)


def test_files_of_unknown_size_count_before_they_are_here_and_have_a_limit(fake, add, alyx, fetch, tmp_path) -> None:
    eid = add(1)
    for row in fake.world.datasets.values():
        row["file_size"] = None
    reserved: list[int] = []
    place = FetchPlace(tmp_path / "other", {"tasks": [TASK], "skip_absent": True})
    fetcher = SessionFetcher(alyx, Downloads(DataLogin(), QUICK), place, reserved.append)
    fetcher.fetch(eid, fetcher.folder(eid)[0])
    assert reserved == [UNKNOWN_BYTES, 2 * UNKNOWN_BYTES]
    result = fetch(eid, bounds=FetchBounds(most_bytes=len(POSITION) - 1))
    assert "of no size in Alyx" in failure_of(result)
    assert fetch(eid, bounds=FetchBounds(most_bytes=len(POSITION))).exit_code == 0


def test_a_run_that_is_ended_keeps_what_came(fake, add, alyx, fetch, tmp_path: Path) -> None:
    eid = add()
    fake.faults.hang_s = 30.0
    start = "/flatiron/cortexlab/Subjects/SW_001/2026-11-20/001/raw_wheel/wheel."
    fake.faults.plan("truncate", "GET", f"{start}position")
    fake.faults.plan("hang_before", "GET", f"{start}position")
    feed = FetchFeed(
        alyx, (), [eid], FetchPlace(tmp_path / "cache", {"tasks": [TASK]}), limits=DownloadLimits(2.0, 1.0)
    )
    with feed:
        until = time.monotonic() + 20
        while len([path for path, _, _ in fake.file_requests if "position" in path]) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
    (part,) = folder(tmp_path).rglob(f"*-{hashlib.md5(POSITION).hexdigest()}.part")
    assert 0 < part.stat().st_size < len(POSITION)
    assert not (folder(tmp_path) / "raw_wheel" / "wheel.position.npy").exists()
    assert fetch(eid).exit_code == 0
    asked = [start for path, start, _ in fake.file_requests if "position" in path]
    assert asked[-1].startswith("bytes="), "the part was not continued"


def test_the_password_goes_to_its_own_server_alone() -> None:
    login = DataLogin("https://files.example.org", "me", "secret words")
    assert login.for_url("https://files.example.org/a/b") == ("me", "secret words")
    for url in ("http://files.example.org/a", "https://files.example.org.evil.net/a", "https://other.org/a"):
        assert login.for_url(url) is None
    assert "secret" not in repr(login)


def test_what_an_earlier_task_makes_is_not_brought() -> None:
    read, made = ExpectedDataset.input, ExpectedDataset.output
    video, times, table = "raw_video_data/_iblrig_leftCamera.raw.mp4", "alf/_ibl_leftCamera.times.npy", "alf/x.dlc.pqt"
    files = [RemoteFile(str(n), path, urls=("http://x",)) for n, path in enumerate((video, times, table))]
    sync = Reader("Sync", (read("*.raw.mp4", "raw_video_data"), read("no.bin", "raw")), (made("*.times.npy", "alf"),))
    post = Reader("Post", (read("*.times.npy", "alf"), read("*.dlc.pqt", "alf") | read("*.lp.pqt", "alf")))
    assert [each.file.path for each in choose(files, [sync, post])] == [video, times, table], "Sync cannot run"
    able = Reader("Sync", sync.inputs[:1], sync.outputs)
    assert [each.file.path for each in choose(files, [able, post])] == [video, table]


def test_run_fetches_a_session_by_its_identifier(fake, add, tmp_path: Path, monkeypatch) -> None:
    from typer.testing import CliRunner

    for name, value in (
        ("ALYX_URL", fake.url), ("ALYX_USER", "test_user"), ("ALYX_TOKEN", "0" * 39 + "1"),
        ("SUBJECTS", str(tmp_path / "Subjects")), ("FETCH_TO", str(tmp_path / "cache")),
    ):  # fmt: skip
        monkeypatch.setenv(f"IBL_DASK_{name}", value)
    eid = add()
    command = ["run", eid, "--workers", "0", "--tasks", TASK, "--evict-fetched"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert (folder(tmp_path) / "alf" / "wheel.copy.npy").exists()
    assert not (folder(tmp_path) / "raw_wheel").exists()
    n_requests = len(fake.file_requests)
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert "1 session was done before and evicted" in again.output
    assert len(fake.file_requests) == n_requests
    assert CliRunner().invoke(app, [*command, "--overwrite"]).exit_code == 0
    assert len(fake.file_requests) == 2 * n_requests
