"""A file that is put in the place of an input while a task runs is not what the task read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import ibl_dask as ibd

OLD_NS = 1_700_000_000 * 10**9


class Copies(ibd.DynamicTask):
    """Copies its input, and lets something happen then."""

    then = staticmethod(lambda: None)

    @property
    def signature(self) -> dict[str, list[tuple[str, str, bool]]]:
        return {"input_files": [("x.table.npy", "alf", True)], "output_files": [("x.copy.npy", "alf", True)]}

    def _run(self, **kwargs: object) -> Path:
        made = self.session_path / "alf" / "x.copy.npy"
        shutil.copyfile(self.session_path / "alf" / "x.table.npy", made)
        self.then()
        return made


@pytest.fixture
def session(tmp_path: Path) -> Path:
    folder = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    (folder / "alf").mkdir(parents=True)
    (folder / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    write_old(folder / "alf" / "x.table.npy", b"first")
    return folder


def write_old(path: Path, content: bytes) -> None:
    """Put a file in the place of another, with its own time, as `rsync -a` does."""
    beside = path.with_name("beside")
    beside.write_bytes(content)
    os.utime(beside, ns=(OLD_NS, OLD_NS))
    beside.replace(path)


def test_the_task_runs_again_for_the_file_that_came_meanwhile(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, made = session / "alf" / "x.table.npy", session / "alf" / "x.copy.npy"
    with monkeypatch.context() as patch:
        patch.setattr(Copies, "then", staticmethod(lambda: write_old(read, b"second content")))
        assert Copies(session).run() == 0
    assert made.read_bytes() == b"first"
    assert Copies(session).run() == 0
    assert made.read_bytes() == b"second content"


def test_a_revision_of_the_input_that_came_meanwhile_is_read_next_time(
    session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, made = session / "alf" / "x.table.npy", session / "alf" / "x.copy.npy"

    def come() -> None:
        (session / "alf" / "#2026-11-20#").mkdir()
        write_old(session / "alf" / "#2026-11-20#" / read.name, b"revised content")

    with monkeypatch.context() as patch:
        patch.setattr(Copies, "then", staticmethod(come))
        assert Copies(session).run() == 0
    made.write_bytes(b"of the first run")
    monkeypatch.setattr(Copies, "then", staticmethod(lambda: seen.append("ran")))
    seen: list[str] = []
    assert Copies(session).run() == 0
    assert seen == ["ran"]


def test_a_task_whose_input_stays_does_not_run_again(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Copies(session).run() == 0
    monkeypatch.setattr(Copies, "then", staticmethod(lambda: pytest.fail("it ran again")))
    assert Copies(session).run() == 0
