"""A file is known by its bytes: not by its size and age, which `cp -p` sets, nor by where it stands."""

import os
import shutil
import time

import pytest

from ibl_dask.store.identity import WHOLE_BYTES, content_of, identity, looks_like, noted_content, sha256_of

LARGE = 4 * WHOLE_BYTES
SIZES = {"empty": 0, "small": 100, "as large as is read whole": WHOLE_BYTES, "large": LARGE}


def write(path, content, like=None):
    """Write a file; as `cp -p` of one of that size and age would where another is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if like is not None:
        os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))
    return path


@pytest.mark.parametrize("place", [0, 1 / 2, 0.123, 0.9999999])
@pytest.mark.parametrize("size", [1, 100, WHOLE_BYTES, WHOLE_BYTES + 1, LARGE])
def test_one_other_byte_anywhere_makes_another_file_whatever_its_size_and_age(tmp_path, size, place):
    path = write(tmp_path / "x.bin", bytes(size))
    before, stat = identity(path), path.stat()
    content = bytearray(size)
    content[int(size * place)] = 1
    time.sleep(0.02)  # the clock of a file system ticks every 4 to 10 ms
    write(path, bytes(content), like=stat)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert identity(path) != before


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_a_file_looks_like_its_copy_elsewhere_and_a_small_one_is_the_same(tmp_path, size):
    path = write(tmp_path / "a" / "x.bin", os.urandom(size))
    (tmp_path / "b").mkdir()
    copy = shutil.copy2(path, tmp_path / "b" / "x.bin")
    assert looks_like(copy, identity(path))
    assert (identity(copy) == identity(path)) == (size <= WHOLE_BYTES)


@pytest.mark.parametrize("size", [100, WHOLE_BYTES])
def test_touching_or_locking_a_small_file_leaves_it_the_same(tmp_path, size):
    path = write(tmp_path / "x.bin", bytes(size))
    before = identity(path)
    os.utime(path, ns=(0, 0))
    path.chmod(0o400)
    assert identity(path) == before


def test_an_identity_of_an_earlier_version_is_compared_by_size_and_age(tmp_path):
    path = write(tmp_path / "x.bin", bytes(100))
    old = {"name": "x.bin", "size": 100, "mtime_ns": path.stat().st_mtime_ns}
    assert looks_like(path, old)
    os.utime(path, ns=(0, 0))
    assert not looks_like(path, old)


def test_what_is_no_file_or_may_not_be_read_has_an_identity_too(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert identity(tmp_path / "pipe")["content"] == identity(tmp_path)["content"] == ""
    assert identity(None) is None


def settled(path):
    """Return a file that was not touched for longer than clocks need to tell."""
    deadline = time.monotonic() + 10
    while time.time() - path.stat().st_ctime < 2.1 and time.monotonic() < deadline:
        time.sleep(0.1)
    return path


def test_the_hash_of_a_large_file_is_noted_and_taken_anew_once_anything_touched_it(tmp_path):
    note = tmp_path / "done" / "x.json"
    path = write(tmp_path / "x.bin", bytes(LARGE))
    assert content_of(path, note) == sha256_of(path)
    assert noted_content(path, note) is None, "it may still change within one tick of the clock"
    assert content_of(settled(path), note) == noted_content(path, note) == sha256_of(path)
    stat = path.stat()
    other = bytearray(LARGE)
    other[LARGE // 8] = 1  # where no place is read
    write(path, bytes(other), like=stat)
    assert noted_content(path, note) is None
    assert content_of(path, note) == sha256_of(path)
    note.write_text(note.read_text().replace('"size"', '"sizes"')[:-3])
    assert noted_content(path, note) is None
