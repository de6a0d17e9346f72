"""Profiles that are no profile: each is named with its line, soon, and in few words."""

import time

import pytest

from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.errors import UsageError

POOL = "pools:\n  cpu:\n    scheduler: slurm\n    max_jobs: 2\n    memory: 4 GB\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name}\n  <<: [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
ODD = {
    "a date as name": ("\nname: 2024-01-01\n", 2, "Got: 2024-01-01"),
    "a date that is none": ("name: 2024-02-30\n", 1, "day is out of range"),
    "a date as key": ("name: x\n2024-01-01: 3\n", 2, "no key 2024-01-01"),
    "a date as pool": ("pools:\n  2024-01-01: {scheduler: slurm, max_jobs: 1}\n", 2, "give it another name"),
    "a date as command": (POOL + "    setup: [2024-01-01]\n", 6, "Got: 2024-01-01"),
    "a list as key": ("name: x\n[a, b]: 3\n", 2, "this is no key"),
    "keys as key": ("name: x\n? {a: 1}\n: 3\n", 2, "this is no key"),
    "a list as key of a pool": (POOL + "    [x]: 3\n", 6, "this is no key"),
    "nothing as key": ("~: 3\n", 1, "no key ~"),
    "aliases without end": (BOMB, 5, "aliases make this profile too large"),
    "merged aliases without end": (MERGED, 8, "aliases make this profile too large"),
    "a value in itself": ("name: &a [*a]\n", 1, "this value holds itself"),
    "a pool in itself": ("pools: &p\n  cpu: *p\n", 1, "this value holds itself"),
    "keys taken from themselves": ("pools: &p\n  <<: *p\n  cpu: {scheduler: slurm}\n", 1, "this value holds itself"),
    "nested deeply": ("name: x\nscratch: " + "[" * 5000 + "]" * 5000 + "\n", 2, "nested too deeply"),
    "no end of time": ("\npoll_s: .inf\n", 2, "Got: inf"),
    "no end of idling": ("idle_s: 1.0e+400\n", 1, "idle_s makes no sense"),
    "memory without end": ("memory_gb: .inf\n", 1, "at most 1,000,000"),
    "memory that is no number": ("memory_gb: .nan\n", 1, "Got: nan"),
    "memory of many digits": (POOL.replace("4 GB", "9" * 400 + " GB"), 5, "999..."),
    "workers without end": ("name: x\nworkers: 100000000\n", 2, "at most 20,000"),
    "workers beyond a machine": ("workers: 20000\n", 1, "at most 1,000 in all"),
    "cores without end": (POOL + "    cores: 100000000\n", 6, "cores of one job"),
    "a number of many digits": ("workers: " + "9" * 5000 + "\n", 1, "workers makes no sense"),
    "bytes": (b"name: x\nscratch: \xff\n", 2, "the byte 0xff"),
    "UTF-16": ("workers: 2\n".encode("utf-16"), 1, "save it as UTF-8"),
    "a null in a path": ('scratch: "/a\\0b"\n', 1, "a work folder"),
    "an unknown tag": ("name: !!binary abc\n", 1, "failed to decode base64"),
    "two documents": ("name: a\n---\nname: b\n", 2, "another document"),
}


@pytest.mark.parametrize(("text", "line", "what"), ODD.values(), ids=ODD)
def test_what_makes_no_sense_is_named_with_its_line(tmp_path, text, line, what):
    path = tmp_path / "site.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    started_s = time.process_time()
    with pytest.raises(UsageError) as caught:
        read_profile(path)
    assert caught.value.where == f"{path}, line {line}"
    assert what in str(caught.value)
    assert len(str(caught.value)) < 700
    assert time.process_time() - started_s < 5


def test_a_folder_and_what_cannot_be_followed_are_named(tmp_path):
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "file").touch()
    for path, got in (
        (tmp_path, "a folder"),
        (tmp_path / "round", "symbolic links"),
        (tmp_path / "file" / "x", "Not a"),
    ):
        with pytest.raises(UsageError, match="cannot be read") as caught:
            read_profile(path)
        assert caught.value.where == str(path)
        assert got in caught.value.got


def test_a_file_that_is_something_else_is_not_read(tmp_path):
    path = tmp_path / "video.mp4"
    with path.open("wb") as file:
        file.truncate(50_000_000_000)
    with pytest.raises(UsageError, match="50,000,000,000 bytes"):
        read_profile(path)


def test_more_workers_on_the_command_line_than_any_machine_has_are_refused():
    with pytest.raises(UsageError, match="leave --workers out"):
        read_profile(None, 100_000_000)


@pytest.mark.parametrize(
    "text", [b"\xef\xbb\xbfworkers: 2\n", b"workers: 2\r\nmemory_gb: 2.0\r\n"], ids=["BOM", "CRLF"]
)
def test_how_an_editor_saves_a_profile_is_no_matter(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_bytes(text)
    assert read_profile(path).most_workers == 2
