"""Fingerprints, keys and what is left of a step."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ibl_dask.model.events import RunFinished, StepFinished, to_json
from ibl_dask.model.failure import Failure
from ibl_dask.model.result import Result, VideoIndexed, Work
from ibl_dask.model.step import Resources, Step, StepKey, StepRecord, Upstream, fingerprint

LEAF = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=8)
PLAIN = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
PARTS = st.dictionaries(st.sampled_from(["video", "chunk", "parents", "options"]), PLAIN)


def turned(value: Any) -> Any:
    """Return the same content with every dictionary in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(PARTS)
def test_fingerprint_does_not_depend_on_the_order_of_keys(parts: dict[str, Any]) -> None:
    assert fingerprint("index", 1, **parts) == fingerprint("index", 1, **turned(parts))


@given(PARTS, PARTS)
def test_fingerprint_changes_with_any_part(one: dict[str, Any], other: dict[str, Any]) -> None:
    assume(json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True))
    assert fingerprint("index", 1, **one) != fingerprint("index", 1, **other)


def test_fingerprint_changes_with_kind_and_version() -> None:
    marks = {fingerprint("index", 1, a=1), fingerprint("index", 2, a=1), fingerprint("times", 1, a=1)}
    marks |= {fingerprint("index", 1), fingerprint("index", 1, b=1), fingerprint("index", 1, a="1")}
    assert len(marks) == 6
    assert all(len(mark) == 16 and int(mark, 16) >= 0 for mark in marks)


def test_fingerprint_sees_the_values_of_any_mapping() -> None:
    assert fingerprint("k", 1, a=MappingProxyType({"x": 1})) == fingerprint("k", 1, a={"x": 1})
    assert fingerprint("k", 1, a=MappingProxyType({"x": 1})) != fingerprint("k", 1, a=MappingProxyType({"x": 2}))


def test_fingerprint_takes_tuples_as_lists() -> None:
    assert fingerprint("k", 1, a=(1, (2, 3))) == fingerprint("k", 1, a=[1, [2, 3]])


@pytest.mark.parametrize("value", [Path("/data"), object(), 1j])
def test_fingerprint_refuses_what_it_cannot_hold(value: object) -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        fingerprint("k", 1, a=value)


def test_fingerprint_is_the_same_in_every_process() -> None:
    code = (
        "from ibl_dask.model.step import fingerprint;"
        "print(fingerprint('index', 3, z={'b': [1, 2.5], 'a': None}, names={'left', 'right', 'body'}))"
    )
    here = fingerprint("index", 3, names={"body", "left", "right"}, z={"a": None, "b": (1, 2.5)})
    for seed in ("1", "2", "3"):
        there = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here


RECORDS = st.builds(
    StepRecord,
    key=st.tuples(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9), st.integers(0, 10**6)),
    status=st.sampled_from(["done", "kept", "failed", "skipped"]),
    result=st.builds(Result.from_json, st.dictionaries(st.text(max_size=5), PLAIN, max_size=3)),
    failure=st.none() | st.builds(Failure, st.text(), st.text(), st.text(), st.text()),
    started_s=st.floats(0, 4e9),
    seconds=st.floats(0, 1e6),
    worker=st.text(max_size=9),
)


@given(RECORDS)
def test_step_record_survives_json(record: StepRecord) -> None:
    assert StepRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_step_record_of_an_older_run_needs_only_key_and_status() -> None:
    record = StepRecord.from_json({"key": ["index-left", "s", "f", 0], "status": "kept"})
    assert record == StepRecord(("index-left", "s", "f", 0), "kept")


@pytest.mark.parametrize(("status", "ok"), [("done", True), ("kept", True), ("failed", False), ("skipped", False)])
def test_only_done_and_kept_leave_something_behind(status: Any, ok: bool) -> None:
    assert StepRecord(("a", "b", "c", 0), status).is_ok is ok


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(Step):
    """A step that does nothing."""

    kind: ClassVar[str] = "framepass"

    size: int = 0
    index: StepKey | None = None
    parts: tuple[StepKey, ...] = ()

    allow_failed: ClassVar[tuple[str, ...]] = ("parts",)

    def identity(self) -> dict[str, object]:
        return {"size": self.size}

    def run(self, upstream: Upstream) -> Result:
        return Result()


def test_key_starts_with_what_the_dashboard_groups_by() -> None:
    step = Pass(camera="left", session="SW/2023-05-01/001", size=3, chunk=7)
    assert step.key == ("framepass-left", "SW/2023-05-01/001", fingerprint("framepass", 1, size=3), 7)
    assert Pass(session="s").key == ("framepass", "s", fingerprint("framepass", 1, size=0), 0)


def test_fingerprint_of_a_step_follows_from_what_it_declares_alone(tmp_path: Path) -> None:
    step = Pass(session="s", size=3)
    other = replace(step, lease="0123", marker=tmp_path, resources=Resources(cpu=4), chunk=9)
    assert other.fingerprint == step.fingerprint
    assert replace(step, size=4).fingerprint != step.fingerprint
    assert pickle.loads(pickle.dumps(other)) == other


def test_fields_that_hold_keys_are_the_steps_upstream() -> None:
    one, two, three = (Pass(session="s", size=size) for size in range(3))
    step = Pass(session="s", size=9, index=one.key, parts=(two.key, three.key))
    assert step.needs == (one.key, two.key, three.key)
    assert step.may_fail == {two.key, three.key}
    assert one.needs == ()


def test_results_survive_json_in_any_form(tmp_path: Path) -> None:
    work = Work("decode", 5, 100)
    plain = Result(disposition="incomplete", reason="2 frames", outputs=(tmp_path,), notes=("a",), work=work)
    indexed = VideoIndexed(camera="left", video=tmp_path, frames=5, identity={}, width=4, height=3, codec="h264")
    assert Result.from_json(json.loads(json.dumps(plain.to_json()))) == plain
    assert plain.to_json()["incomplete"] == "2 frames"
    assert json.loads(json.dumps(indexed.to_json()))["notes"] == []


def test_a_result_is_read_in_its_own_form_alone() -> None:
    step = Pass(session="s")
    upstream = Upstream([StepRecord(step.key, "done", Result(facts={"frames": 3}))])
    assert upstream.result(step.key, Result).facts == {"frames": 3}
    with pytest.raises(TypeError, match="where a VideoIndexed is read"):
        upstream.result(step.key, VideoIndexed)


def test_gpu_steps_ask_for_a_gpu_and_no_core() -> None:
    assert Resources(cpu=4).for_dask() == {"CPU": 4.0, "MEMORY_GB": 1.0}
    assert Resources(cpu=4, gpu=1, memory_gb=3).for_dask() == {"GPU": 1.0, "MEMORY_GB": 3}


def test_events_become_json_under_their_own_name() -> None:
    record = StepRecord(("index", "s", "f", 0), "failed", failure=Failure("MissingFile", "input", "gone"))
    line = json.loads(json.dumps(to_json(StepFinished("/s", record))))
    assert line["event"] == "StepFinished"
    assert StepRecord.from_json(line["record"]) == record
    assert to_json(RunFinished("r", 1, 0, 2.0, 3.0))["interrupted"] is False
