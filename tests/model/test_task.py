"""Order of tasks."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import UsageError
from ibl_dask.model.status import Status
from ibl_dask.model.task import TaskSpec, sort_specs


def spec(name: str, *parents: str) -> TaskSpec:
    return TaskSpec(name, "m.C", parents=parents)


@st.composite
def graphs(draw: st.DrawFn) -> list[TaskSpec]:
    """Return tasks without circles, in any order."""
    n = draw(st.integers(0, 9))
    specs = [
        spec(f"t{i}", *(f"t{j}" for j in draw(st.lists(st.integers(0, i - 1), unique=True) if i else st.just([]))))
        for i in range(n)
    ]
    return draw(st.permutations(specs))


@given(graphs())
def test_parents_come_first_and_levels_are_the_longest_way(specs: list[TaskSpec]) -> None:
    ordered = sort_specs(specs)
    assert sorted(s.name for s in ordered) == sorted(s.name for s in specs)
    seen: dict[str, int] = {}
    for task in ordered:
        assert task.level == max((seen[parent] + 1 for parent in task.parents), default=0)
        seen[task.name] = task.level


def test_tasks_that_are_ready_together_keep_their_order() -> None:
    specs = [spec("b"), spec("a"), spec("c", "a", "b")]
    assert [s.name for s in sort_specs(specs)] == ["b", "a", "c"]


def test_unknown_parent_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"task a waits.*Got: ghost"):
        sort_specs([spec("a", "b", "ghost"), spec("b")])


def test_circle_is_refused_naming_who_is_in_it() -> None:
    with pytest.raises(UsageError, match="circle") as caught:
        sort_specs([spec("free"), spec("a", "b"), spec("b", "a")])
    assert caught.value.got == "a, b"


def test_task_that_waits_for_itself_is_a_circle() -> None:
    with pytest.raises(UsageError, match="circle"):
        sort_specs([spec("a", "a")])


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="share a name") as caught:
        sort_specs([spec("a"), spec("b"), spec("a")])
    assert caught.value.got == "a"


def test_generator_of_tasks_is_as_good_as_a_list() -> None:
    names = list("abcd")
    random.Random(0).shuffle(names)
    assert len(sort_specs(spec(name) for name in names)) == 4


@pytest.mark.parametrize("status", list(Status))
def test_return_code_is_zero_exactly_for_success(status: Status) -> None:
    assert (status.code == 0) is status.is_success
