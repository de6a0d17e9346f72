"""Descriptions of several acquisition computers, put together."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.errors import DescriptionError
from ibl_dask.model.description_merge import merge_descriptions
from ibl_dask.model.description_reader import understand

BEHAVIOUR = {
    "version": "1.0.0",
    "tasks": [{"cw": {"collection": "raw_task_data_00"}}, {"passive": {"collection": "raw_task_data_01"}}],
    "devices": {"microphone": {"microphone": {"collection": "raw_task_data_00"}}},
    "procedures": ["Behavior training/tasks"],
    "projects": ["a"],
}
VIDEO = {"version": "1.0.0", "devices": {"cameras": {"left": {"collection": "raw_video_data"}}}, "projects": ["b", "a"]}
EPHYS = {
    "version": "1.0.0",
    "sync": {"nidq": {"collection": "raw_ephys_data"}},
    "devices": {"neuropixel": {"probe00": {"collection": "raw_ephys_data/probe00"}}},
}
CLOCK = st.sampled_from([{"nidq": {"collection": "raw_ephys_data"}}])
NAMES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=3, unique=True)


@st.composite
def descriptions(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """Return what one computer says of devices that are its own."""
    labels = draw(st.lists(st.sampled_from(["x", "y", "z"]), max_size=3, unique=True))
    content: dict[str, Any] = {"version": "1.0.0"}
    if labels:
        content["devices"] = {kind: {label: {"collection": f"{kind}_{label}"} for label in labels}}
    if draw(st.booleans()):
        content["sync"] = draw(CLOCK)
    if draw(st.booleans()):
        content["tasks"] = [{name: {"collection": f"{kind}_{name}"}} for name in draw(NAMES)]
    for field in ("procedures", "projects"):
        if draw(st.booleans()):
            content[field] = draw(NAMES)
    return content


def meaning(content: dict[str, Any]) -> Any:
    """Return a description without the order in which computers reported."""
    found = understand(content)
    tasks = frozenset((p.name, p.collection) for p in found.protocols)
    return found.sync, tasks, frozenset(found.procedures), frozenset(found.projects), found.cameras, found.devices


def test_three_computers_describe_one_session() -> None:
    whole = understand(merge_descriptions(merge_descriptions(BEHAVIOUR, VIDEO), EPHYS))
    assert [camera.label for camera in whole.cameras] == ["left"]
    assert set(whole.devices) == {"microphone", "neuropixel"}
    assert whole.sync is not None
    assert [p.name for p in whole.protocols] == ["cw", "passive"]
    assert whole.projects == ("a", "b")


@given(descriptions("one"), descriptions("two"), descriptions("three"))
def test_the_order_of_the_computers_does_not_matter(one: Any, two: Any, three: Any) -> None:
    first = merge_descriptions(merge_descriptions(one, two), three)
    assert meaning(first) == meaning(merge_descriptions(three, merge_descriptions(two, one)))
    assert first == merge_descriptions(one, merge_descriptions(two, three))


@given(descriptions("one"), descriptions("two"))
def test_the_same_again_changes_nothing(one: Any, two: Any) -> None:
    whole = merge_descriptions(one, two)
    assert merge_descriptions(whole, two) == whole
    assert merge_descriptions(whole, whole) == whole


@given(descriptions("one"), descriptions("two"))
def test_what_is_merged_stays_as_it_is(one: Any, two: Any) -> None:
    before = copy.deepcopy((one, two))
    whole = merge_descriptions(one, two)
    whole.setdefault("devices", {})["one"] = "something else"
    assert (one, two) == before


def test_protocols_keep_their_order_and_one_that_ran_twice_is_two() -> None:
    first = {"tasks": [{"b": {}}, {"a": {}}, {"b": {}}]}
    whole = merge_descriptions(first, {"tasks": [{"a": {}}, {"c": {}}]})
    assert whole["tasks"] == [{"b": {}}, {"a": {}}, {"b": {}}, {"c": {}}]


def test_what_a_later_computer_says_of_a_device_replaces_what_was_said() -> None:
    first = {"devices": {"cameras": {"left": {"collection": "a", "fps": 60}, "right": {"collection": "a"}}}}
    whole = merge_descriptions(first, {"devices": {"cameras": {"left": {"collection": "b"}}}})
    assert whole["devices"]["cameras"] == {"left": {"collection": "b"}, "right": {"collection": "a"}}


def test_two_main_clocks_are_refused_with_both() -> None:
    with pytest.raises(DescriptionError, match="different main clocks") as caught:
        merge_descriptions({"sync": {"nidq": {}}}, {"sync": {"bpod": {}}})
    assert "nidq" in caught.value.got
    assert "bpod" in caught.value.got


def test_tasks_of_the_old_layout_become_a_list() -> None:
    whole = merge_descriptions({"tasks": {"a": {"collection": "x"}, "b": None}}, {})
    assert whole["tasks"] == [{"a": {"collection": "x"}}, {"b": None}]


def test_tasks_that_are_no_list_are_refused() -> None:
    with pytest.raises(DescriptionError, match="cannot be merged"):
        merge_descriptions({"tasks": [{"a": {}}]}, {"tasks": "choiceWorld"})
