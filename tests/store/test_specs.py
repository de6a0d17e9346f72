"""The file of a session's tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import UnusableFile, UsageError
from ibl_dask.model.step import Resources
from ibl_dask.model.task import TaskSpec
from ibl_dask.store.pipeline_tasks_yaml import SPECS_NAME, read_specs, write_specs

SPECS = st.builds(
    TaskSpec,
    name=st.text("abc_", min_size=1),
    executable=st.just("ibllib.pipes.video_tasks.DLC"),
    arguments=st.dictionaries(st.sampled_from(["cameras", "sync"]), st.none() | st.text() | st.lists(st.text())),
    parents=st.lists(st.text("abc_", min_size=1), max_size=2).map(tuple),
    resources=st.builds(Resources, st.integers(1, 9), st.integers(0, 1), st.sampled_from([1.0, 4.0, 0.5])),
    priority=st.integers(0, 100),
    level=st.integers(0, 9),
    io_charge=st.integers(0, 100),
    time_out_secs=st.integers(1, 32_767),
    env=st.none() | st.sampled_from(["dlc", "litpose"]),
    job_size=st.sampled_from(["small", "large"]),
)


@given(SPECS)
def test_a_task_is_read_as_it_was_written(spec: TaskSpec) -> None:
    assert TaskSpec.from_dict(spec.to_dict()) == spec


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    specs = (TaskSpec("a", "m.A", {"x": [1]}), TaskSpec("b", "m.B", parents=("a",), level=1, env="dlc"))
    assert write_specs(tmp_path, specs).name == SPECS_NAME
    assert read_specs(tmp_path) == specs


def test_tuples_that_the_field_s_writer_leaves_are_lists(tmp_path: Path) -> None:
    text = "- {name: a, executable: m.A, arguments: {cameras: !!python/tuple [left]}, parents: []}"
    (tmp_path / SPECS_NAME).write_text(text)
    assert read_specs(tmp_path)[0].arguments == {"cameras": ["left"]}


@pytest.mark.parametrize(
    "text",
    [
        "{a: 1}",
        "- 3",
        "a: [",
        "- {name: a}",
        "- {name: a, executable: m.A, parents: [b]}",
        "- {name: a, executable: m.A, cpu: many}",
        "- {name: a, executable: !!python/object/apply:os.getcwd []}",
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / SPECS_NAME).write_text(text)
    with pytest.raises(UnusableFile) as caught:
        read_specs(tmp_path)
    assert caught.value.where == str(tmp_path / SPECS_NAME)


def test_what_is_no_task_is_refused_with_what_lacks() -> None:
    with pytest.raises(UsageError, match="executable"):
        TaskSpec.from_dict({"name": "a"})
