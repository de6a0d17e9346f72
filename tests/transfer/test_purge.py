"""Raw files go from an acquisition computer only if the very same file is at the destination."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from program import call, on_disk

from ibl_dask.errors import UsageError
from ibl_dask.store.lock import holding
from ibl_dask.transfer import arrival, still_files
from ibl_dask.transfer.purge import purge_local_data, purge_rig_data

N_CASES = 500
NAMES = (
    "raw_video_data/_iblrig_leftCamera.raw.avi",
    "raw_video_data/_iblrig_rightCamera.raw.avi",
    "raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec.ap.bin",
    "raw_ephys_data/probe01/_spikeglx_ephysData_g0_t0.imec.ap.bin",
    "raw_behavior_data/_iblrig_taskData.raw.jsonable",
    "raw_task_data_00/_iblrig_taskSettings.raw.json",
)
OF_FILE = (
    "none", "none", "none", "empty", "missing", "other size", "other bytes", "of another camera or probe",
    "in another folder", "in session 10 for 1", "link here", "link there", "hard link", "folder is a link there",
    "changes here", "changes there", "goes there", "grows here while it is read", "changes there while it is read",
)  # fmt: skip
"""What may be wrong with a file; `none` and `empty` are all right."""
OF_SESSION = (
    *["none"] * 20, "flag here", "flag there", "device pending", "no session", "two labs", "of another lab", "locked",
    "session there is a link to this one", "folder here is a link",
)  # fmt: skip
FLAGS = ("transfer_me.flag", "raw_session.flag", "extract_me.error")


@dataclass
class Case:
    """A session, and what is wrong with it."""

    number: int
    fault: str
    faults: dict[str, str]
    lab: str = ""
    content: dict[str, bytes] = field(default_factory=dict)

    def may_go(self, name: str) -> bool:
        """The oracle, which looks at nothing but the case."""
        return self.fault in ("none", "folder here is a link") and self.faults[name] in ("none", "empty")


def draw(number: int, rng: random.Random) -> Case:
    names = rng.sample(NAMES, rng.randint(1, 4))
    fault = rng.choice(OF_SESSION)
    lab = "cortexlab" if fault == "of another lab" else rng.choice(["", "cortexlab"])
    case = Case(number, fault, {name: rng.choice(OF_FILE) for name in names}, lab)
    for name, each in case.faults.items():
        case.content[name] = b"" if each == "empty" else rng.randbytes(rng.randint(1, 3000))
    return case


class World:
    """The acquisition computer and the server of all cases."""

    def __init__(self, root: Path) -> None:
        self.rig, self.server, self.elsewhere = root / "rig", root / "server", root / "elsewhere"
        self.changes: dict[str, tuple[str, Path]] = {}

    def here(self, case: Case) -> Path:
        return self.rig / case.lab / "Subjects" / f"SW_{case.number:03}" / "2024-05-01" / "1"

    def there(self, case: Case, lab: str = "cortexlab", number: str = "1") -> Path:
        return self.server / lab / "Subjects" / f"SW_{case.number:03}" / "2024-05-01" / number

    def write(self, case: Case, rng: random.Random) -> None:
        here, there = self.here(case), self.there(case)
        if case.fault == "of another lab":
            there = self.there(case, "mainenlab")
        for name, fault in case.faults.items():
            put(here / name, case.content[name])
            self.write_copy(case, name, fault, there, rng)
        (here / "_ibl_experiment.description.yaml").write_text("{}")
        if case.fault == "flag here":
            (here / rng.choice(FLAGS)).touch()
        elif case.fault == "flag there":
            put(there / rng.choice(FLAGS), b"")
        elif case.fault == "device pending":
            put(there / "_devices" / "2024-05-01_1_video.status_pending", b"")
        elif case.fault == "no session":
            shutil.rmtree(there, ignore_errors=True)
        elif case.fault == "two labs" and there.exists():
            shutil.copytree(there, self.there(case, "mainenlab"), symlinks=True)
            if case.lab:
                case.fault = "none"  # the folders here name the lab, so that it is no question
        elif case.fault == "locked":
            put(here / "ibl_dask" / "lock.json", json.dumps({"host": "elsewhere", "pid": 1, "token": "0"}).encode())
        elif case.fault == "session there is a link to this one":
            shutil.rmtree(there, ignore_errors=True)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(here)
        elif case.fault == "folder here is a link":
            other = self.elsewhere / str(case.number)
            put(other / "more.avi", b"more")
            put(there / "raw_more_data" / "more.avi", b"more")
            (here / "raw_more_data").symlink_to(other)

    def write_copy(self, case: Case, name: str, fault: str, there: Path, rng: random.Random) -> None:
        content, here = case.content[name], self.here(case) / name
        copy = there / name
        if fault == "missing":
            put(there / "raw_video_data" / "other.txt", b"")
        elif fault == "other size":
            put(copy, content + b"!" if rng.random() < 0.5 else content[:-1])
        elif fault == "other bytes":
            put(copy, bytes([content[0] ^ 1]) + content[1:])
        elif fault == "of another camera or probe":
            swaps = (("left", "right"), ("right", "left"), ("probe00", "probe01"), ("probe01", "probe00"))
            swapped = next((name.replace(*each) for each in swaps if each[0] in name), f"{name}.other")
            if swapped not in case.faults:
                put(there / swapped, content)
        elif fault == "in another folder":
            put(there / "raw_old_data" / Path(name).name, content)
        elif fault == "in session 10 for 1":
            for number in ("10", "001", "11"):
                put(self.there(case, number=number) / name, content)
        elif fault == "link here":
            put(copy, content)
            put(self.elsewhere / f"{case.number}" / name, content)
            here.unlink()
            here.symlink_to(self.elsewhere / f"{case.number}" / name)
        elif fault == "link there":
            put(copy, b"")
            copy.unlink()
            copy.symlink_to(here)
        elif fault == "hard link":
            put(copy, b"")
            copy.unlink()
            os.link(here, copy)
        elif fault == "folder is a link there":
            put(self.elsewhere / f"{case.number}" / "there" / Path(name).name, content)
            if not copy.parent.exists():
                copy.parent.parent.mkdir(parents=True, exist_ok=True)
                copy.parent.symlink_to(self.elsewhere / f"{case.number}" / "there")
        else:
            put(copy, content)
            if fault not in ("none", "empty"):
                self.changes[str(here)] = (fault, copy)


def put(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except FileExistsError:  # below what another fault of this case made a link
        pass


def change(path: Path) -> None:
    """Overwrite a file with as many other bytes."""
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 255]) + content[1:])
    os.utime(path, ns=(1, 1))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a test were all written just now."""
    monkeypatch.setattr(still_files, "SETTLED_S", 0.0)


@pytest.mark.usefixtures("settled")
def test_500_random_cases_remove_what_is_proven_elsewhere_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a second for every few hundred files
    rng = random.Random(20240501)
    world = World(tmp_path)
    cases = [draw(number, rng) for number in range(N_CASES)]
    for case in cases:
        world.write(case, rng)
    # A fault of one file may have spoiled the place of another one's copy.
    spoiled = {
        (case.number, name)
        for case in cases
        for name in case.faults
        if "folder is a link there" in case.faults.values() and (world.there(case) / name).parent.is_symlink()
    }
    whole, dry = on_disk(tmp_path), purge_rig_data(world.rig, world.server)
    assert on_disk(tmp_path) == whole, "a dry run changed something"

    def happens(path: Path, moment: str) -> None:
        fault, copy = world.changes.get(str(path), ("", path))
        if fault == f"changes here{moment}" or (fault == "grows here while it is read" and moment):
            change(path)
        elif fault == f"changes there{moment}":
            change(copy)
        elif fault == "goes there" and not moment:
            copy.unlink()

    plain_read, plain_compare = arrival.read_sha256, arrival.are_one_folder
    reading = []

    def read(folder: int, name: str, state: still_files.FileState) -> str | None:
        path = Path(f"/proc/self/fd/{folder}").readlink() / name
        reading.append(path)
        if path.is_relative_to(world.rig):
            happens(path, " while it is read")
        return plain_read(folder, name, state)

    def one_folder(folder: int, other: int) -> bool:
        happens(reading[-2], "")
        return plain_compare(folder, other)

    monkeypatch.setattr(arrival, "read_sha256", read)
    monkeypatch.setattr(arrival, "are_one_folder", one_folder)
    done = purge_rig_data(world.rig, world.server, dry=False)

    removed = {str(file.path) for file in done.files if file.is_removed}
    n_gone = 0
    for case in cases:
        for name, content in case.content.items():
            path, copy = world.here(case) / name, world.there(case) / name
            told = (case.number, case.lab, case.fault, name, case.faults[name])
            is_gone = not os.path.lexists(path)
            assert is_gone == (str(path) in removed), told
            assert is_gone == (case.may_go(name) and (case.number, name) not in spoiled), told
            if is_gone:
                n_gone += 1
                assert copy.is_file(), told
                assert not copy.is_symlink(), told
                assert copy.read_bytes() == content, told
        assert world.here(case).is_dir()
    # Both are frequent, and every fault occurred; what changes afterwards, the dry run could not see.
    assert N_CASES / 4 < n_gone == len(removed) == len(done.gone) < len(done.files) / 2
    assert {fault for case in cases for fault in case.faults.values()} == set(OF_FILE)
    assert {file.path for file in done.gone} < {file.path for file in dry.gone}
    assert all(file.detail for file in done.files if not file.may_go)
    # What is elsewhere was not touched, be it led to by links.
    assert on_disk(world.elsewhere) == {path: entry for path, entry in whole.items() if "/elsewhere" in path}


def one_session(root: Path, number: str = "001") -> tuple[Path, Path]:
    """Write a session with two raw files and their copies; return both session folders."""
    places = []
    for place in ("rig", "server"):
        folder = root / place / "Subjects" / "SW_001" / "2024-05-01" / number
        put(folder / "raw_video_data" / "_iblrig_leftCamera.raw.avi", b"left" * 1000)
        put(folder / "raw_ephys_data" / "probe00" / "_spikeglx_ephysData_g0_t0.imec0.ap.bin", b"probe" * 1000)
        places.append(folder)
    return places[0], places[1]


def names_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.usefixtures("settled")
def test_folders_that_held_removed_files_alone_go_and_no_others(tmp_path: Path) -> None:
    here, _ = one_session(tmp_path)
    (here / "raw_ephys_data" / "probe01").mkdir()
    (here / "raw_video_data" / "notes").mkdir()
    done = purge_rig_data(tmp_path / "rig", tmp_path / "server", dry=False)
    assert len(done.gone) == 2
    assert names_below(here) == {"raw_ephys_data", "raw_ephys_data/probe01", "raw_video_data", "raw_video_data/notes"}
    assert done.folders == (here / "raw_ephys_data" / "probe00",)


@pytest.mark.usefixtures("settled")
def test_patterns_choose_files_by_name_or_by_path_in_the_session(tmp_path: Path) -> None:
    here, _ = one_session(tmp_path)
    for patterns, n in ((("*.avi",), 1), (("raw_ephys_data/*",), 1), (("*.avi", "*.bin"), 2), (("*.cbin",), 0)):
        assert len(purge_rig_data(tmp_path / "rig", tmp_path / "server", patterns).files) == n, patterns
    gone = purge_local_data(tmp_path / "rig", "*.ap.bin", None, False, remote_folder=tmp_path / "server")
    assert gone == [here / "raw_ephys_data" / "probe00" / "_spikeglx_ephysData_g0_t0.imec0.ap.bin"]
    assert names_below(here) == {"raw_video_data", "raw_video_data/_iblrig_leftCamera.raw.avi"}


def test_a_file_written_to_just_now_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still_files, "SETTLED_S", 3600.0)
    one_session(tmp_path)
    done = purge_rig_data(tmp_path / "rig", tmp_path / "server", dry=False)
    assert {file.reason for file in done.files} == {"changing"}


@pytest.mark.usefixtures("settled")
def test_the_same_folder_through_another_mount_or_a_link_is_no_destination(tmp_path: Path) -> None:
    here, _ = one_session(tmp_path)
    before = on_disk(here)
    with pytest.raises(UsageError, match="is the local folder itself"):
        purge_rig_data(tmp_path / "rig", tmp_path / "server" / ".." / "rig", dry=False)
    (tmp_path / "link").symlink_to(tmp_path / "rig")
    with pytest.raises(UsageError, match="is the local folder itself"):
        purge_rig_data(tmp_path / "rig", tmp_path / "link", dry=False)
    assert not purge_rig_data(tmp_path / "rig" / "Subjects", tmp_path / "rig", dry=False).gone
    assert on_disk(here) == before


@pytest.mark.usefixtures("settled")
def test_a_disk_that_is_mounted_twice_under_other_numbers_is_noticed_before_anything_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server's folder does that is exported from this very computer."""
    here, there = one_session(tmp_path)
    shutil.rmtree(there.parent)
    there.parent.parent.mkdir(exist_ok=True)
    shutil.copytree(here.parent, there.parent)
    plain = os.stat

    def looked(path: object, **more: object) -> os.stat_result:
        if isinstance(path, str) and path.startswith(".seen."):
            return plain(here.parent)  # what is made in one is seen in the other
        return plain(path, **more)  # type: ignore[call-overload, no-any-return]

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", looked)
        done = purge_rig_data(tmp_path / "rig", tmp_path / "server", dry=False)
    assert {file.reason for file in done.files} == {"same file"}
    assert len(names_below(here)) == 5


@pytest.mark.usefixtures("settled")
def test_a_bind_mount_of_the_local_folder_is_no_destination(tmp_path: Path) -> None:
    here, there = one_session(tmp_path)
    shutil.rmtree(there)
    there.mkdir()
    script = (
        "import sys; from ibl_dask.transfer import still_files; still_files.SETTLED_S = 0.0;"
        "from ibl_dask.transfer.purge import purge_rig_data;"
        "print(len(purge_rig_data(*sys.argv[1:], dry=False).gone))"
    )
    command = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', here, there]
    command += [sys.executable, "-c", script, tmp_path / "rig", tmp_path / "server"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("nothing may be mounted here")
    assert done.stdout == "0\n", done.stderr
    assert len(names_below(here)) == 5


@pytest.mark.usefixtures("settled")
def test_a_session_that_a_run_holds_stays_and_goes_afterwards_without_a_trace(tmp_path: Path) -> None:
    here, _ = one_session(tmp_path)
    with holding(here / "ibl_dask" / "lock.json"):
        for dry in (True, False):
            done = purge_rig_data(tmp_path / "rig", tmp_path / "server", dry=dry)
            assert {file.reason for file in done.files} == {"session in use"}
    (here / "ibl_dask").rmdir()
    assert len(purge_rig_data(tmp_path / "rig", tmp_path / "server", dry=False).gone) == 2
    assert names_below(here) == set()


def test_killed_at_any_moment_every_file_is_here_or_there(tmp_path: Path) -> None:
    rig, server = tmp_path / "rig", tmp_path / "server"
    for number in range(40):
        one_session(tmp_path, f"{number:03}")
    script = (
        "import os, sys; from ibl_dask.transfer import arrival, still_files; still_files.SETTLED_S = 0.0\n"
        "from ibl_dask.transfer.purge import purge_rig_data\n"
        "plain, left = os.unlink, [int(sys.argv[3])]\n"
        "def unlink(name, **more):\n"
        "    left[0] -= 1\n"
        "    if left[0] == 0: os.kill(os.getpid(), 9)\n"
        "    plain(name, **more)\n"
        "os.unlink = unlink\n"
        "print(len(purge_rig_data(*sys.argv[1:3], dry=False).gone))"
    )
    contents = {path.relative_to(server): path.read_bytes() for path in server.rglob("*") if path.is_file()}
    for moment in (1, 2, 3, 10, 51):
        command = [sys.executable, "-c", script, rig, server, str(moment)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == -9
        assert {path.relative_to(server): path.read_bytes() for path in server.rglob("*") if path.is_file()} == contents
        left = {path.relative_to(rig): path.read_bytes() for path in rig.rglob("raw_*/**/*.*") if path.suffix != ".tmp"}
        assert left.items() <= contents.items()
    n_left = sum(path.suffix in (".avi", ".bin") for path in rig.rglob("*"))
    done = subprocess.run([*command[:-1], "0"], capture_output=True, text=True, check=True)
    assert int(done.stdout) == n_left > 0
    assert [path for path in rig.rglob("*") if path.is_file() and "lock" not in path.name] == []


def test_the_command_shows_removes_and_tells_what_stays_and_why(tmp_path: Path) -> None:
    here, there = one_session(tmp_path)
    change(there / "raw_video_data" / "_iblrig_leftCamera.raw.avi")
    before = on_disk(here)
    wait_until_settled(here, there)
    code, text = call("purge-rig-data", tmp_path / "rig", tmp_path / "server")
    assert code == 0
    assert on_disk(here) == before
    for part in ("to be removed", "other content: SHA-256", "1 file would be removed, 5 kB; 1 file kept", "--yes"):
        assert part in text, text
    code, text = call("purge-rig-data", tmp_path / "rig", tmp_path / "server", "--yes", "--json")
    content = json.loads(text)
    assert (code, content["dry_run"], content["bytes"]) == (0, False, 5000)
    assert {file["verdict"] for file in content["files"]} == {"removed", "kept"}
    assert names_below(here) == {"raw_video_data", "raw_video_data/_iblrig_leftCamera.raw.avi"}
    code, text = call("purge-rig-data", tmp_path / "rig", tmp_path / "nowhere")
    assert code == 2
    assert "the destination does not exist" in text


def wait_until_settled(*folders: Path) -> None:
    """Wait until the last change of each file is old enough to be sure of."""
    import time

    newest = max(path.stat().st_ctime for folder in folders for path in folder.rglob("*"))
    time.sleep(max(0.0, newest + still_files.SETTLED_S + 0.05 - time.time()))
