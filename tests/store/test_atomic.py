"""A reader sees the old content or the new, and nothing between."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from one.alf import spec
from program import NAMESPACE, needs_namespaces

from ibl_dask.errors import AlreadyThere, CorruptOutput, NotWritable
from ibl_dask.store.atomic import (
    move,
    read_folder,
    readable_folder,
    recover_folder,
    sweep_temporaries,
    temporary_name,
    write_text,
    writing,
    writing_folder,
)
from ibl_dask.store.processes import this_process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(path: Path, text: str) -> None:
    with writing_folder(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "c").write_text(text)


def content(path: Path) -> str:
    return (path / "sub" / "c").read_text()


def test_file_appears_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.txt"
    with writing(path) as file:
        file.write(b"x" * 100_000)
        assert not path.exists()
    assert path.stat().st_size == 100_000
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, OSError])
def test_exception_inside_leaves_the_old_content_and_no_temporary_file(tmp_path: Path, error) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write() -> None:
        with writing(path) as file:
            file.write(b"half of the new")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_text_survives_whatever_the_locale(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "µs → naïve")
    assert (tmp_path / "a").read_bytes().decode("utf-8") == "µs → naïve"


def test_reader_of_a_file_that_is_written_over_and_over_never_sees_a_mixture(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "0" * 50_000)
    stop = threading.Event()

    def write(digit: str) -> None:
        while not stop.is_set():
            write_text(path, digit * 50_000)

    writers = [threading.Thread(target=write, args=(digit,)) for digit in "12"]
    for writer in writers:
        writer.start()
    seen = {path.read_text() for _ in range(300)}
    stop.set()
    for writer in writers:
        writer.join()
    assert {len(text) for text in seen} == {50_000}
    assert all(len(set(text)) == 1 for text in seen)
    assert names(tmp_path) == ["a"]


def test_two_writers_of_one_file_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with writing(path) as first:
        first.write(b"first")
        with writing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["_ibl_leftCamera.times.npy", "leftCamera-frames.zarr", "a.b.c", "000-100.npz"])
def test_temporary_names_match_no_alf_pattern_and_are_never_used_twice(tmp_path: Path, name: str) -> None:
    made = {temporary_name(tmp_path / name) for _ in range(100)}
    assert len(made) == 100
    for temporary in made:
        assert temporary.parent == tmp_path
        assert not spec.is_valid(temporary.name)
        assert str(os.getpid()) in temporary.name


def test_killed_writer_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    code = (
        "import os, signal, sys; from pathlib import Path; from ibl_dask.store.atomic import writing\n"
        "with writing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'new'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert killed.returncode == -9
    assert path.read_text() == "old"
    assert not any(spec.is_valid(name) for name in names(tmp_path))


def test_full_disk_says_so_and_keeps_the_old_content(tmp_path: Path, full_disk: None) -> None:
    path = tmp_path / "a"
    path.touch()
    with pytest.raises(NotWritable, match="the disk is full") as caught:
        write_text(path, "new" * 100_000)
    assert caught.value.where == str(path)
    assert "free some room" in caught.value.do
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert path.read_bytes() == b""
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_folder_that_refuses_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refuse)
    for write in (lambda path: write_text(path, "x"), lambda path: fill(path, "x")):
        with pytest.raises(NotWritable, match="cannot be written") as caught:
            write(tmp_path / "a")
        assert caught.value.got == os.strerror(code)
        assert "--output-root" in caught.value.do


def test_path_below_a_file_keeps_its_own_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for write in (lambda path: write_text(path, "x"), lambda path: fill(path, "x")):
        with pytest.raises(OSError, match=re.escape(str(tmp_path / "file"))):
            write(tmp_path / "file" / "below" / "a")
    assert (tmp_path / "file").read_text() == "x"


def test_error_raised_inside_passes_unchanged(tmp_path: Path) -> None:
    error = CorruptOutput("another file is damaged", where="elsewhere")
    for open_ in (writing, writing_folder):
        with pytest.raises(CorruptOutput) as caught, open_(tmp_path / "a"):
            raise error
        assert caught.value is error
        assert caught.value.__cause__ is None


def test_folder_appears_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.zarr"
    with writing_folder(path) as folder:
        (folder / "a").write_text("1")
        assert not path.exists()
    assert names(path) == ["a"]
    assert names(path.parent) == ["x.zarr"]


def test_new_folder_replaces_the_old_one_entirely(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    fill(path, "old")
    with writing_folder(path) as folder:
        (folder / "other").write_text("new")
    assert names(path) == ["other"]
    assert names(tmp_path) == ["x.zarr"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, OSError])
def test_exception_inside_leaves_the_old_folder_and_nothing_else(tmp_path: Path, error) -> None:
    path = tmp_path / "x.zarr"
    fill(path, "old")

    def write() -> None:
        with writing_folder(path) as folder:
            (folder / "half").write_text("new")
            raise error

    with pytest.raises(error):
        write()
    assert content(path) == "old"
    assert names(tmp_path) == ["x.zarr"]


@pytest.mark.parametrize("failing", [1, 2], ids=["setting aside", "moving in"])
def test_failing_swap_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    path = tmp_path / "x.zarr"
    fill(path, "old")
    plain, calls = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing:
            raise OSError(errno.EIO, "Input/output error")
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="Input/output error"):
        fill(path, "new")
    assert content(path) == "old"
    assert names(tmp_path) == ["x.zarr"]


KILLED = """
import os, signal, sys
from pathlib import Path
from ibl_dask.store.atomic import writing_folder
plain, calls = Path.rename, []
def rename(self, target):
    calls.append(target)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, target)
Path.rename = rename
with writing_folder(Path(sys.argv[1])) as folder:
    (folder / "sub").mkdir()
    (folder / "sub" / "c").write_text("new")
"""


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """Return a folder whose writer was killed between the two renames of a swap."""
    path = tmp_path / "x.zarr"
    fill(path, "old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -9
    assert not path.exists()
    return path


def test_swap_interrupted_between_the_renames_is_undone(interrupted: Path) -> None:
    assert recover_folder(interrupted)
    assert content(interrupted) == "old"
    assert recover_folder(interrupted)
    assert not any(spec.is_valid(name) for name in names(interrupted.parent) if name != interrupted.name)


def test_writing_again_after_an_interrupted_swap_gives_the_new_folder(interrupted: Path) -> None:
    fill(interrupted, "newer")
    assert content(interrupted) == "newer"
    assert recover_folder(interrupted)
    assert content(interrupted) == "newer"


def test_failed_writing_after_an_interrupted_swap_loses_nothing(interrupted: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing_folder(interrupted):
        raise ZeroDivisionError
    assert recover_folder(interrupted)
    assert content(interrupted) == "old"


def test_swap_interrupted_after_the_renames_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    fill(path, "old")
    before = set(names(tmp_path))
    aside = path.with_name(f".{path.name}.previous")
    path.rename(aside)
    path.mkdir()
    (path / "new").write_text("x")
    assert recover_folder(path)
    assert names(path) == ["new"]
    assert set(names(tmp_path)) == before


def test_nothing_to_recover_is_no_folder(tmp_path: Path) -> None:
    assert not recover_folder(tmp_path / "x.zarr")
    assert names(tmp_path) == []


def test_full_disk_while_a_folder_is_filled_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    fill(path, "old")

    def write() -> None:
        with writing_folder(path) as folder, (folder / "a").open("wb", buffering=0) as file:
            with Path("/dev/full").open("wb") as full:
                os.dup2(full.fileno(), file.fileno())
            file.write(b"x")

    with pytest.raises(NotWritable, match="the disk is full"):
        write()
    assert content(path) == "old"
    assert names(tmp_path) == ["x.zarr"]


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    ours = temporary_name(tmp_path / "mine.npy")
    left = ours.with_name(ours.name.replace(f"-{os.getpid()}-", f"-{int(gone.stdout)}-"))
    elsewhere = tmp_path / ".other.npy.another-host-17-0123abcd.tmp"
    for path in (ours, elsewhere, tmp_path / ".hidden.tmp", tmp_path / "kept.npy"):
        path.write_bytes(b"x")
    left.mkdir()
    assert sweep_temporaries(tmp_path) == 1
    assert {p.name for p in tmp_path.iterdir()} == {ours.name, elsewhere.name, ".hidden.tmp", "kept.npy"}


@pytest.mark.parametrize(
    ("changes", "is_old", "is_swept"),
    [
        ({"started": 1}, False, True),  # its number was given out again: to us
        ({"namespace": 1}, False, False),
        ({"namespace": 1}, True, True),
        ({"boot": "0123456789ab"}, False, False),
        ({"boot": "0123456789ab"}, True, True),
        ({"host": "renamed"}, True, False),
        ({}, True, False),
    ],
)
def test_what_a_writer_left_goes_once_it_is_gone_or_after_a_day_where_nobody_can_know(
    tmp_path: Path, changes: dict[str, object], is_old: bool, is_swept: bool
) -> None:
    mark = replace(this_process(), **changes).mark
    path = tmp_path / f".x.npy.{mark}-0123abcd.tmp"
    path.write_bytes(b"x")
    if is_old:
        os.utime(path, (time.time() - 90_000,) * 2)
    assert sweep_temporaries(tmp_path) == is_swept
    assert path.exists() != is_swept


@pytest.mark.parametrize("host", [socket.gethostname(), "another"])
def test_what_an_older_version_wrote_goes_after_a_day(tmp_path: Path, host: str) -> None:
    """It may be at work in a container, whose processes are not known here."""
    fresh, old = (tmp_path / f".{name}.npy.{host}-999999-0123abcd.tmp" for name in ("fresh", "old"))
    fresh.touch()
    old.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    sweep_temporaries(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [fresh.name]


@needs_namespaces
def test_a_sweep_in_another_namespace_of_processes_takes_nothing_from_a_live_writer(tmp_path: Path) -> None:
    with writing(tmp_path / "x.npy") as file:
        code = (
            "import sys; from pathlib import Path; from ibl_dask.store.atomic import sweep_temporaries\n"
            "sweep_temporaries(Path(sys.argv[1]))"
        )
        subprocess.run([*NAMESPACE, sys.executable, "-c", code, str(tmp_path)], check=True)
        file.write(b"x")
    assert names(tmp_path) == ["x.npy"]


def test_a_folder_is_readable_between_the_two_renames_of_a_swap(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    assert readable_folder(path) is None
    aside = tmp_path / ".x.zarr.previous"
    aside.mkdir()
    assert readable_folder(path) == aside
    path.mkdir()
    assert readable_folder(path) == path


def test_a_folder_that_is_replaced_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    fill(path, "1")
    seen = []

    def read(folder: Path) -> str:
        text = content(folder)
        seen.append(text)
        if len(seen) < 3:
            fill(path, str(len(seen) + 1))
        return text + content(folder)

    assert read_folder(path, read) == "33"
    assert seen == ["1", "2", "3"]


@pytest.mark.parametrize("is_replaced", [True, False])
def test_an_error_while_a_folder_is_read_counts_unless_it_was_replaced(tmp_path: Path, is_replaced: bool) -> None:
    path = tmp_path / "x.zarr"
    fill(path, "1")

    def read(folder: Path) -> str:
        text = content(folder)
        if text == "1":
            if is_replaced:
                fill(path, "2")
            raise ValueError(text)
        return text

    if is_replaced:
        assert read_folder(path, read) == "2"
    else:
        with pytest.raises(ValueError, match="1"):
            read_folder(path, read)


# -- new names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "folder", "link that leads nowhere"])
def test_what_came_meanwhile_stays_where_nothing_is_to_be_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"

    def come() -> None:
        if kind == "file":
            path.write_text("theirs")
        elif kind == "folder":
            (path / "labels").mkdir(parents=True)
        else:
            path.symlink_to(tmp_path / "nowhere")

    def write() -> None:
        with writing(path, is_new=True) as file:
            file.write(b"ours")
            come()

    with pytest.raises(AlreadyThere, match="stays as it is"):
        write()
    with pytest.raises(AlreadyThere, match="stays as it is"), writing_folder(path, is_new=True) as folder:
        (folder / "ours").mkdir()
    assert names(tmp_path) == ["x"]
    assert path.is_symlink() or (path.is_dir() and names(path) == ["labels"]) or path.read_text() == "theirs"


def test_a_new_name_is_taken_once_all_is_written(tmp_path: Path) -> None:
    with writing(tmp_path / "x", is_new=True) as file:
        file.write(b"ours")
    (tmp_path / "y").mkdir()  # an empty folder holds nothing
    with writing_folder(tmp_path / "y", is_new=True) as folder:
        (folder / "z").mkdir()
    assert (tmp_path / "x").read_bytes() == b"ours"
    assert names(tmp_path / "y") == ["z"]
    assert names(tmp_path) == ["x", "y"]


# -- moving ------------------------------------------------------------------------------------------------


def test_moving_never_takes_a_name_that_is_taken(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("2")
    with pytest.raises(FileExistsError):
        move(one, other)
    assert (one.read_text(), other.read_text()) == ("1", "2")


@pytest.mark.parametrize("name_taken", ["a link to the file", "a link that leads nowhere"])
def test_moving_never_takes_the_name_of_a_link(tmp_path: Path, name_taken: str) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.symlink_to(one if name_taken == "a link to the file" else tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        move(one, other)
    assert one.read_text() == "1"


@pytest.mark.parametrize("has_links", [True, False])
def test_moving_gives_a_file_or_a_link_its_other_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    one, link = tmp_path / "one", tmp_path / "link"
    one.write_text("1")
    link.symlink_to("one.new")
    move(one, tmp_path / "one.new")
    move(link, tmp_path / "link.new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.new", "one.new"]
    assert (tmp_path / "link.new").readlink() == Path("one.new")
    assert (tmp_path / "link.new").read_text() == "1"


def test_a_move_that_was_killed_half_way_is_finished_by_the_next(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_text("1")
    (tmp_path / "other").hardlink_to(one)
    move(one, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert (tmp_path / "other").read_text() == "1"
