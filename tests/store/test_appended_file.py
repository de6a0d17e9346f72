"""A file that only grows, over a disk that fails for a while."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ibl_dask.store.appended_file import AppendedFile

LINE = b"x" * 99 + b"\n"
N_LINES = 3000


def test_a_disk_that_fails_for_long_gets_each_line_a_few_times_and_not_with_every_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = AppendedFile(tmp_path / "lines")
    file.append(LINE)
    file.sync()
    tried: list[int] = []

    def fail(handle: int, content: bytes, at: int) -> int:
        tried.append(len(content))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        for _ in range(N_LINES):
            file.append(LINE)
        assert file.failure is not None
        assert sum(tried) < 100 * N_LINES * len(LINE), "all lines with each of them would be 1,500 times"
        tried.clear()
        file.sync()
        assert tried, "to put all on disk is tried at once"
    file.sync()
    assert file.failure is None
    assert file.is_on_disk
    file.close()
    assert (tmp_path / "lines").read_bytes() == LINE * (N_LINES + 1)
