"""Sessions are copied, moved and renamed whole or not at all, and never onto anything."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from program import on_disk

import ibl_dask as ibd
from ibl_dask.errors import AlreadyThere, NotASession, SessionLocked, TransferIncomplete, UsageError
from ibl_dask.store.atomic import temporary_name
from ibl_dask.store.lock import Attempt, holding
from ibl_dask.transfer import session_copies, session_moves
from ibl_dask.transfer.session_copies import check_transfer, copy_session
from ibl_dask.transfer.session_moves import backup_session, move_session, rename_session


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Return a session with files, links and an empty folder."""
    folder = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    for name, content in (
        ("raw_video_data/left.avi", b"left" * 5000),
        ("raw_ephys_data/probe00/ap.bin", b"ap"),
        ("a.yaml", b""),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(10**18, 10**18))
    (folder / "raw_video_data" / "left.avi").chmod(0o440)
    (folder / "raw_video_data" / "latest.avi").symlink_to("left.avi")
    (folder / "raw_video_data" / "gone.avi").symlink_to("/nowhere/gone.avi")
    (folder / "snapshots").mkdir()
    return folder


@pytest.fixture(params=["one disk", "two disks"])
def disks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let a move stay on one disk, or lead to another one as far as the system's rename is concerned."""
    if request.param == "two disks":
        apart(monkeypatch)
    return str(request.param)


def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if not path.name.startswith(".") and not Path(target).name.startswith("."):
            raise OSError(18, os.strerror(18), str(path), None, str(target))
        return plain(path, target)

    monkeypatch.setattr(Path, "rename", rename)


def content(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return what a session holds: kinds and permissions, and times of files, and contents."""
    found = on_disk(folder)
    return {
        os.path.relpath(path, folder): (mode, time_ns if stat.S_ISREG(mode) else 0, what)
        for path, (mode, time_ns, what) in found.items()
    }


def siblings(session: Path) -> list[str]:
    return sorted(path.name for path in session.parent.iterdir())


def test_a_session_is_moved_with_all_that_it_holds(session: Path, disks: str) -> None:
    before, target = content(session), session.parents[2] / "SW_002" / "2023-05-02" / "010"
    assert move_session(session, target) == target
    assert content(target) == before
    assert siblings(session) == []
    assert siblings(target) == ["010"]


def test_a_session_is_copied_with_all_that_it_holds_and_stays(session: Path, tmp_path: Path) -> None:
    before, target = content(session), tmp_path / "other" / "SW_001" / "2023-05-01" / "001"
    assert copy_session(ibd.Session(session), target) == target
    assert content(target) == content(session) == before
    check_transfer(ibd.Session(session), ibd.Session(target))
    with pytest.raises(AlreadyThere, match="something at the new path"):
        copy_session(session, target)


@pytest.mark.parametrize("there", ["session", "file", "link", "dangling link"])
def test_nothing_is_replaced(session: Path, tmp_path: Path, disks: str, there: str) -> None:
    target = session.parent / "002"
    if there == "session":
        (target / "raw_video_data").mkdir(parents=True)
    elif there == "file":
        target.write_text("notes")
    else:
        target.symlink_to(session if there == "link" else tmp_path / "nowhere")
    before = on_disk(tmp_path)
    with pytest.raises((AlreadyThere, UsageError)) as caught:
        rename_session(session, new_number="2")
    assert there == "link" or isinstance(caught.value, FileExistsError)
    after = on_disk(tmp_path)
    assert {path: (entry[0], entry[2]) for path, entry in after.items()} == {
        path: (entry[0], entry[2]) for path, entry in before.items()
    }


def test_a_session_that_a_run_holds_is_not_moved(session: Path, disks: str) -> None:
    before = content(session)
    with holding(session / "ibl_dask" / "lock.json"):
        for call in (
            lambda: rename_session(session, new_number="2"),
            lambda: copy_session(session, session.parent / "3"),
        ):
            with pytest.raises(SessionLocked, match="another run holds this session"):
                call()
    (session / "ibl_dask").rmdir()
    assert content(session) == before
    assert rename_session(session, new_number="2").name == "002"


@pytest.mark.parametrize("moment", ["while it is copied", "after it was copied"])
def test_a_session_that_changes_while_it_is_moved_to_another_disk_stays(
    session: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    apart(monkeypatch)
    growing, target = session / "raw_ephys_data" / "probe00" / "ap.bin", session.parent / "002"
    module, name = (session_copies, "_copy_file") if moment.startswith("while") else (session_moves, "token_hex")
    plain = getattr(module, name)

    def changed(*arguments: object) -> object:
        with growing.open("ab") as file:
            file.write(b"more")
        return plain(*arguments)

    monkeypatch.setattr(module, name, changed)
    with pytest.raises(TransferIncomplete, match=r"changed while it was copied.*ap\.bin"):
        move_session(session, target)
    assert growing.read_bytes().startswith(b"apmore")
    # A copy of an earlier state may stay beside it, whole; half of one never.
    assert siblings(session) == (["001"] if moment.startswith("while") else ["001", "002"])


def test_a_session_whose_name_is_taken_while_it_changes_is_kept_under_another_one_and_named(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acquisition that goes on writes into the folder that was set aside, and a copy tool makes its name anew."""
    apart(monkeypatch)
    target, plain, growing = session.parent / "002", Path.rename, "raw_ephys_data/probe00/ap.bin"

    def rename(path: Path, to: Path) -> Path:
        found = plain(path, to)
        if path == session and Path(to).name.startswith(".001.moved-"):
            (Path(to) / growing).write_bytes(b"recorded meanwhile")
            (session / "raw_video_data").mkdir(parents=True)
            (session / "raw_video_data" / "other.avi").write_bytes(b"other")
        return found

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(TransferIncomplete, match=r"name was taken.*\.001\.moved-"):
        move_session(session, target)
    for _ in range(2):  # nor does the next call remove it
        (aside,) = session.parent.glob(".001.moved-*")
        assert (aside / growing).read_bytes() == b"recorded meanwhile"
        with contextlib.suppress(AlreadyThere):
            move_session(session, target)


def test_a_session_that_a_killed_move_set_aside_gets_its_name_again(session: Path, tmp_path: Path) -> None:
    before, target = content(session), session.parent / "002"
    session.rename(session.with_name(".001.moved-0123abcd"))
    assert move_session(session, target) == target
    assert content(target) == before
    assert siblings(session) == ["002"]


def test_a_session_under_a_second_mount_of_its_own_folder_is_not_taken_for_its_copy(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a server whose own export is mounted: equal to the byte, of another disk, and gone with the original."""
    target, before = session.parent / "002", content(session)
    target.symlink_to(session)
    apart(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_symlink", lambda path: False)
        patch.setattr(session_moves, "target_of", lambda _, path: path)
        with pytest.raises(TransferIncomplete, match="gone with the original"):
            move_session(session, target)
    assert content(session) == before


def test_a_copy_that_is_not_what_was_read_gets_no_name(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart(monkeypatch)
    monkeypatch.setattr(session_copies, "sha256_of", lambda path: "0" * 64)
    before = content(session)
    with pytest.raises(TransferIncomplete, match="not equal to its original"):
        move_session(session, session.parent / "002")
    assert content(session) == before
    assert siblings(session) == ["001"]


KILLED = """
import os, sys
from pathlib import Path
plain, left = Path.rename, [int(sys.argv[3])]
def rename(path, target):
    if not path.name.startswith(".") and not Path(target).name.startswith("."):
        raise OSError(18, os.strerror(18))
    return plain(path, target)
Path.rename = rename
def counted(name):
    real = getattr(os, name)
    def call(*arguments, **more):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), 9)
        return real(*arguments, **more)
    setattr(os, name, call)
for name in ("mkdir", "unlink", "rmdir", "fsync", "utime", "rename"):
    counted(name)
from ibl_dask.transfer.session_moves import move_session
move_session(*sys.argv[1:3])
"""


def test_attempts_of_others_at_the_lock_meanwhile_change_nothing(session: Path, tmp_path: Path) -> None:
    """Each begins with a file that is removed at once."""
    target, stop = tmp_path / "server" / "Subjects" / "SW_001" / "2023-05-01" / "001", threading.Event()

    def attempt() -> None:
        while not stop.is_set():
            with contextlib.suppress(SessionLocked):
                Attempt(session / "ibl_dask" / "lock.json").take().close()

    rivals = [threading.Thread(target=attempt) for _ in range(3)]
    with holding(session / "ibl_dask" / "lock.json"):
        for rival in rivals:
            rival.start()
        try:
            for n in range(20):
                shutil.copytree(session, target / str(n), ignore=shutil.ignore_patterns("ibl_dask"), symlinks=True)
                check_transfer(session, target / str(n))
        finally:
            stop.set()
            for rival in rivals:
                rival.join()


def test_killed_at_any_moment_the_session_is_whole_at_one_place_and_a_second_call_completes(
    session: Path, tmp_path: Path
) -> None:
    original, n_killed = content(session), 0
    saved = tmp_path / "saved"
    shutil.copytree(session, saved, symlinks=True)
    for moment in (1, 14, 26, 30, 33, 36):
        target = tmp_path / f"target{moment}" / "SW_001" / "2023-05-01" / "001"
        command = [sys.executable, "-c", KILLED, session, target, str(moment)]
        killed = subprocess.run(command, capture_output=True, text=True, check=False)
        n_killed += killed.returncode == -9
        assert killed.returncode in (0, -9), killed.stderr
        whole = [place for place in (session, target) if place.exists() and unlocked(content(place)) == original]
        assert whole, moment
        if session.exists():
            subprocess.run([*command[:-1], "0"], check=True)
        assert unlocked(content(target)) == original
        assert not session.exists()
        shutil.copytree(saved, session, symlinks=True)
    assert n_killed > 3


def unlocked(found: dict[str, tuple[int, int, str]]) -> dict[str, tuple[int, int, str]]:
    """Leave out the lock that a killed process left, and the folder that it is in."""
    return {name: entry for name, entry in found.items() if name.split("/")[0] != "ibl_dask"}


def test_a_copy_that_a_killed_process_left_half_made_is_swept(session: Path) -> None:
    target = session.parent / "002"
    script = "import sys; from pathlib import Path; from ibl_dask.store.atomic import temporary_name as name;"
    subprocess.run([sys.executable, "-c", f"{script}name(Path(sys.argv[1])).mkdir()", target], check=True)
    alive = temporary_name(target)
    alive.mkdir()
    assert len(siblings(session)) == 3
    copy_session(session, target)
    assert siblings(session) == sorted([alive.name, "001", "002"])


def test_what_differs_is_named_and_is_an_assertion_as_in_the_field(session: Path) -> None:
    target = session.parent / "002"
    copy_session(session, target)
    video = target / "raw_video_data" / "left.avi"
    video.chmod(0o600)
    changes = {
        "other content": lambda: video.write_bytes(b"Left" * 5000),
        "20,000 bytes, and 3 in the copy": lambda: video.write_bytes(b"123"),
        "a link to left.avi, and to right.avi": lambda: (
            (target / "raw_video_data/latest.avi").unlink(),
            (target / "raw_video_data/latest.avi").symlink_to("right.avi"),
        ),
        "probe00/ap.bin: only in the original": (target / "raw_ephys_data/probe00/ap.bin").unlink,
        "probe01/ap.bin: only in the copy": lambda: (
            (target / "raw_ephys_data/probe01").mkdir(),
            (target / "raw_ephys_data/probe01/ap.bin").write_bytes(b"ap"),
        ),
    }
    for told, change in changes.items():
        change()
        with pytest.raises(AssertionError, match=told):
            check_transfer(session, target)
    with pytest.raises(NotASession, match="does not exist"):
        check_transfer(session, session.parent / "003")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"new_subject": "SW_002"}, "SW_002/2023-05-01/001"),
        ({"new_date": "2023-05-11"}, "SW_001/2023-05-11/001"),
        ({"new_number": "12"}, "SW_001/2023-05-01/012"),
        ({"new_number": 3}, "SW_001/2023-05-01/003"),
        ({"new_number": "001"}, "SW_001/2023-05-01/001"),
        ({}, "SW_001/2023-05-01/001"),
    ],
)
def test_parts_of_a_name_that_are_not_given_stay(session: Path, arguments: dict[str, str], expected: str) -> None:
    before = content(session)
    inside = session / "raw_video_data"
    path = ibd.rename_session(inside, **arguments)
    assert path == session.parents[2] / expected
    assert content(path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"new_subject": "../SW_002"},
        {"new_subject": "a/b"},
        {"new_date": "2023-13-01"},
        {"new_date": "20230501"},
        {"new_number": "1000"},
        {"new_number": "-1"},
        {"new_number": "²"},
    ],
)
def test_what_is_no_name_is_refused_and_nothing_moves(session: Path, arguments: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="nothing was renamed"):
        rename_session(session, **arguments)
    assert siblings(session) == ["001"]


def test_asked_on_the_terminal_an_empty_answer_leaves_a_part(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["", "2023-05-09", "7"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    assert rename_session(session, ask=True) == session.parents[2] / "SW_001" / "2023-05-09" / "007"


def test_a_session_is_not_moved_into_itself_nor_through_a_link(session: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="into itself"):
        move_session(session, session / "SW_001" / "2023-05-01" / "001")
    (tmp_path / "link").symlink_to(session)
    with pytest.raises(NotASession, match="is a link"):
        move_session(tmp_path / "link", session.parent / "002")
    with pytest.raises(NotASession, match="no name for a session folder"):
        move_session(session, tmp_path / "somewhere")
    with pytest.raises(NotASession, match="does not exist"):
        move_session(session.parent / "009", session.parent / "010")
    assert siblings(session) == ["001"]


def test_a_backup_is_a_copy_beside_the_subjects_and_is_never_replaced(session: Path) -> None:
    assert ibd.backup_session(session)
    backup = session.parents[3] / "Subjects_backup_renamed_sessions" / "SW_001" / "2023-05-01" / "001"
    assert content(backup) == content(session)
    (session / "a.yaml").write_text("new")
    with pytest.raises(AlreadyThere):
        backup_session(session)
    assert (backup / "a.yaml").read_text() == ""
    second = rename_session(session, new_number="2")
    assert backup_session(second), "another session of that day has a backup"
