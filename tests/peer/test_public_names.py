"""The field's own names and calls: each is there, or `docs/differences.md` names it."""

from __future__ import annotations

import inspect
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from described import described

import ibl_dask as ibd
from ibl_dask.errors import NotASession

if TYPE_CHECKING:
    from reference import Reference

pytestmark = pytest.mark.peer

TEXT = (Path(__file__).parents[2] / "docs" / "differences.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([\w.]+)`", TEXT.split("## Names of the field's tasks")[-1].split("\n## ")[0]))
"""What the document says of names: `Class`, `Class.name`, or `Task.name` for all classes."""

ABSENT = object()


@pytest.fixture(scope="module")
def classes(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = reference.ask("public_names", session=described(tmp_path_factory.mktemp("there")))[
        "classes"
    ]
    return found


def is_named(cls: str, name: str) -> bool:
    return f"{cls}.{name}" in NAMED or f"Task.{name}" in NAMED


def built(cls: type[ibd.Task], session: Path) -> ibd.Task:
    return cls(session, **({"cameras": ["left"]} if issubclass(cls, ibd.VideoTask) else {}))


def takes(function: Any, theirs: list[list[Any]]) -> list[str]:
    """Return which of the reference's parameters a function of ours lacks, or has in another place or by default."""
    ours = inspect.signature(function).parameters
    has_any = any(p.kind is p.VAR_KEYWORD for p in ours.values())
    wrong = []
    places = [p.name for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    for at, (name, kind, default) in enumerate(theirs):
        if kind.startswith("VAR_"):
            continue
        if name not in ours:
            wrong += [] if has_any and at > 1 else [name]
        elif default is not None and ours[name].default != default:
            wrong.append(f"{name}={ours[name].default!r}, there {default!r}")
        elif kind == "POSITIONAL_OR_KEYWORD" and places[at : at + 1] != [name]:
            wrong.append(f"{name} in another place")
    return wrong


def test_every_class_of_the_video_and_base_tasks_is_there_or_named(classes: dict[str, Any]) -> None:
    assert len(classes) == 21
    absent = [name for name in classes if not hasattr(ibd, name)]
    assert {"VideoCompress", "VideoSyncQcNidq", "BehaviourTask"} <= classes.keys() - set(absent)
    assert [name for name in absent if name not in NAMED] == []
    assert [name for name in NAMED if name in classes and name not in absent] == [], "named, and there all the same"


def test_every_attribute_and_default_of_a_class_is_there_or_named(classes: dict[str, Any], tmp_path: Path) -> None:
    session = described(tmp_path)
    wrong = []
    n_compared = 0
    for name, theirs in classes.items():
        if not hasattr(ibd, name):
            continue
        ours = built(getattr(ibd, name), session)
        for each, default in {**theirs["attributes"], **theirs["instance"]}.items():
            value = getattr(ours, each, ABSENT)
            if isinstance(value, tuple):
                value = list(value)
            n_compared += 1
            is_same = value is not ABSENT and (default is None or value == default or each == "session_path")
            if not is_same and not is_named(name, each):
                wrong.append(f"{name}.{each}: {value!r}, there {default!r}")
    assert n_compared > 300
    assert wrong == []


def test_every_method_of_a_class_is_there_with_its_parameters_or_named(classes: dict[str, Any]) -> None:
    wrong = []
    n_compared = 0
    for name, theirs in classes.items():
        if not hasattr(ibd, name):
            continue
        cls = getattr(ibd, name)
        for each, parameters in theirs["methods"].items():
            n_compared += 1
            if is_named(name, each):
                continue
            if not hasattr(cls, each):
                wrong.append(f"{name}.{each}")
                continue
            wrong += [f"{name}.{each}: {what}" for what in takes(getattr(cls, each), parameters)]
    assert n_compared > 200
    assert wrong == []


def test_what_the_document_names_is_a_name_of_the_reference_that_differs(classes: dict[str, Any]) -> None:
    known = set(classes)
    for name, theirs in classes.items():
        for each in (*theirs["attributes"], *theirs["methods"], *theirs["instance"]):
            known |= {f"{name}.{each}", f"Task.{each}"}
    dotted = {name for name in NAMED if re.fullmatch(r"[A-Z]\w+\.\w+", name)}
    assert len(dotted) > 10
    assert dotted - known == set()


@pytest.mark.parametrize("name", ["VideoRegisterRaw", "VideoCompress", "VideoConvert", "VideoSyncQcNidq"])
def test_the_documented_call_makes_a_task_of_a_session_that_is_not_there_in_both(
    reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = "./subject/2023-01-01/001"
    theirs = reference.ask("assign", name=name, session=path, arguments={"cameras": ["left"]})
    deck: dict[str, ibd.Task] = {}
    assign = partial(ibd.assign_task, deck, path)
    assign(getattr(ibd, name), cameras=("left",))
    task = deck[name]
    assert isinstance(task, ibd.VideoTask)
    assert list(deck) == theirs["names"]
    assert list(task.cameras) == theirs["cameras"]
    with pytest.raises(NotASession, match="does not exist"):
        task.run()
