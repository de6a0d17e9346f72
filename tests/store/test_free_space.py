"""Free space and quota of the disk that a folder is, or will be, on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ibl_dask.store.free_space import measure_spaces

ROOT_DEVICE = next(
    (words[0] for words in map(str.split, Path("/proc/self/mounts").read_text().splitlines()) if words[1] == "/"), ""
)


def quota_says(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    program = folder / "bin" / "quota"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


def test_a_folder_that_is_not_there_yet_has_the_space_of_the_one_above(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    (space,) = measure_spaces([folder]).values()
    assert space.device == tmp_path.stat().st_dev
    assert abs(space.free_bytes - shutil.disk_usage(tmp_path).free) < 1 << 30
    other = measure_spaces([Path("/dev/shm/new"), folder])
    assert other[folder].device != other[Path("/dev/shm/new")].device


def test_a_disk_that_does_not_tell_its_size_is_left_out(tmp_path: Path) -> None:
    assert list(measure_spaces([Path("/proc/new"), tmp_path])) == [tmp_path]


@pytest.mark.skipif(os.stat("/").st_dev != Path(__file__).stat().st_dev, reason="tests are on another disk than /")  # noqa: PTH116
def test_the_rest_of_a_quota_counts_on_its_own_disk_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = Path("/new/folder"), Path("/dev/shm/new")
    assert measure_spaces([here])[here].quota_bytes is None
    quota_says(tmp_path, monkeypatch, f"echo '{ROOT_DEVICE} 1000 1500 2000 0 5 0 0 0'; echo 'nas:/x 1 2 3 0 1 0 0 0'")
    found = measure_spaces([here, elsewhere])
    assert found[here].quota_bytes == 500 * 1024
    assert found[here].available_bytes == min(500 * 1024, found[here].free_bytes)
    assert found[elsewhere].quota_bytes is None
    quota_says(tmp_path, monkeypatch, f"echo '{ROOT_DEVICE} 1600* 1500 2000 6days 5 0 0 0'")
    assert measure_spaces([here])[here].available_bytes == 0
    for nothing in ("exit 1", "echo 'Disk quotas for user me (uid 1): none'", f"echo '{ROOT_DEVICE} 9 0 0 0 5 0 0 0'"):
        quota_says(tmp_path, monkeypatch, nothing)
        assert measure_spaces([here])[here].quota_bytes is None
