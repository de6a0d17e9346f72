"""Scratch that a step has used up goes once its result is on record, and not before."""

import pytest
from simple_steps import Calling

from ibl_dask.model.result import Result
from ibl_dask.tasks.run_step import run_step


def joining(folder, parts):
    def join(upstream):
        text = "".join(path.read_text() for path in sorted(parts.iterdir()))
        (folder / "whole").write_text(text)
        return Result(outputs=(folder / "whole",), spent=(parts,))

    return Calling(called="join", session="s", function=join, marker=folder / "done" / "join.json")


@pytest.fixture
def parts(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_text(name)
    return folder


def test_a_join_whose_result_was_lost_finds_its_parts_again(tmp_path, parts, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ibl_dask.tasks.run_step.write_marker", lambda *_: 1 / 0)
        assert run_step(joining(tmp_path, parts), [], tmp_path).status == "failed"
    assert len(list(parts.iterdir())) == 3
    record = run_step(joining(tmp_path, parts), [], tmp_path)
    assert record.status == "done", record.failure
    assert (tmp_path / "whole").read_text() == "abc"
    assert not parts.exists()


def test_a_join_that_is_on_record_needs_no_parts(tmp_path, parts):
    assert run_step(joining(tmp_path, parts), [], tmp_path).status == "done"
    assert run_step(joining(tmp_path, parts), [], tmp_path).status == "kept"
