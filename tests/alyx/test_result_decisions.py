"""Decisions about results, on values alone: checks are merged, revisions found, texts made fit; what code may do."""

import ast
import json
import pickle
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from alyx_results import result
from hypothesis import given, settings
from hypothesis import strategies as st

import ibl_dask.alyx
from ibl_dask.alyx.revisions import plain_path, protected_revisions, revision_path
from ibl_dask.alyx.session_qc import merged_qc
from ibl_dask.alyx.task_result import TaskResult, fit_for_alyx
from ibl_dask.errors import UnusableFile
from ibl_dask.model.outcome import Outcome

KEYS = st.text("abc_", min_size=1, max_size=3)
VALUES = st.sampled_from(["PASS", "FAIL", None, 1.5]) | st.lists(st.integers(0, 3), max_size=2)
CHECKS = st.dictionaries(KEYS, VALUES, max_size=5)
OUTCOMES = st.sampled_from(["", *Outcome.__members__])
DATES = st.dates().map(str) | st.builds(lambda d, c: f"{d}{c}", st.dates(), st.sampled_from("abz"))
REVISIONS = st.lists(st.tuples(DATES | st.just(""), st.booleans()), min_size=1, max_size=6, unique_by=lambda r: r[0])


@given(
    st.none() | CHECKS, st.lists(st.tuples(CHECKS, OUTCOMES), max_size=4), st.sampled_from(list(Outcome.__members__))
)
def test_merging_keeps_every_key_and_the_latest_value_and_never_betters_the_outcome(present, results, before):
    rows = [result("TST_001", "", "", qc=qc, outcome=outcome) for qc, outcome in results]
    changes = merged_qc(rows, {"extended_qc": present, "qc": before})
    after = {**(present or {})}
    for qc, _ in results:
        after.update(qc)
    assert changes.get("extended_qc", present or {}) == after
    assert Outcome[changes.get("qc", before)] == max(
        [Outcome[before], *(Outcome[outcome] for _, outcome in results if outcome)]
    )
    assert merged_qc(rows, {"extended_qc": after, "qc": changes.get("qc", before)}) == {}


@given(REVISIONS, st.dates().map(str), st.booleans())
def test_a_protected_file_goes_to_a_revision_that_is_free_and_later_than_the_protected_ones(revisions, today, has_own):
    own = f"#{revisions[0][0]}#/" if has_own and revisions[0][0] else ""
    path = f"alf/task_00/{own}_ibl_leftCamera.times.npy"
    found = revision_path(path, revisions, today)
    assert plain_path(found) == plain_path(path)
    name = next((part.strip("#") for part in found.split("/") if part.startswith("#")), "")
    protected = {revision for revision, is_protected in revisions if is_protected}
    assert name not in protected
    if found != path:
        assert name > max(protected)
        assert revision_path(found, [(name, False), *revisions], today) == found


@settings(max_examples=40)
@given(st.recursive(st.none() | st.booleans() | st.text(max_size=3), lambda v: st.lists(v) | st.dictionaries(KEYS, v)))
def test_any_body_is_read_for_protected_files(body):
    assert protected_revisions(body) == {}
    assert isinstance(protected_revisions({"error": "datasets are protected", "details": body}), dict)


JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=4), lambda v: st.lists(v, max_size=3))


@settings(max_examples=40)
@given(st.text(max_size=300), st.text(max_size=100), st.none() | st.floats(), st.dictionaries(KEYS, JSON, max_size=3))
def test_a_fit_result_is_json_that_alyx_takes_and_comes_back_as_it_was(log, version, seconds, qc):
    made = fit_for_alyx(result("TST_001", "", "", log=log, version=version, seconds=seconds, qc=qc, made_s=1.0))
    text = json.dumps(made.to_json(), allow_nan=False)
    assert "\0" not in made.log
    assert len(made.version) <= 64
    again = TaskResult.from_json(json.loads(text))
    assert json.loads(json.dumps(again.to_json())) == json.loads(text)
    assert again.key == made.key
    assert pickle.loads(pickle.dumps(made)) == made


def test_a_long_log_keeps_its_end():
    log = "start\n" + "x" * 300_000 + "\nthe error"
    made = fit_for_alyx(result("TST_001", "", "", log=log))
    assert len(made.log) < 201_000
    assert made.log.endswith("the error")
    assert "left out" in made.log


@pytest.mark.parametrize(
    "change",
    [
        {"session": "../2026-11-20/001"},
        {"session": "TST_001/2026-11-20"},
        {"task": ""},
        {"status": "Running"},
        {"task_id": "1; drop table"},
        {"session_id": "x,~pk"},
        {"outcome": "GREAT"},
        {"outputs": [{"path": "../a", "size": 1, "md5": None}]},
        {"outputs": [{"path": "alf/a", "size": -1, "md5": None}]},
        {"outputs": [{"path": "alf/a", "size": 1, "md5": "no"}]},
        {"notes": [{"text": "a", "image": "/etc/passwd"}]},
        {"moved": {"alf/a": "../../b"}},
        {"unknown": 1},
        {"v": 2},
    ],
)
def test_a_result_with_anything_odd_in_it_is_refused(change):
    content = {**result("TST_001", "", "").to_json(), **change}
    with pytest.raises(UnusableFile):
        TaskResult.from_json(json.loads(json.dumps(content)))


BUILTINS = {"eval", "exec", "compile", "__import__"}
RUNS_TEXT = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "run_path", "run_module"}
STARTS = {"Popen", "run", "call", "check_call", "check_output", "create_subprocess_exec"}
IMPORTERS = {
    "tasks/registry.py",  # after `alyx/allowed.py`, for rows of Alyx
    "tasks/external/child_main.py",  # in the other environment, the class that was allowed
}
"""Modules that import others by names that are no constants."""


@cache
def calls_in(path: Path) -> list[tuple[ast.Call, str, str]]:
    """Return the calls of a module, each with its name and the name before the dot."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            found.append((node, name, getattr(getattr(node.func, "value", None), "id", "")))
    return found


def modules() -> dict[str, Path]:
    package = Path(ibl_dask.alyx.__file__).parents[1]
    return {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}


def test_no_code_of_the_package_runs_text_and_none_of_the_room_of_alyx_starts_programs():
    n_started = 0
    for name, path in modules().items():
        for node, called, owner in calls_in(path):
            place = f"{name}:{node.lineno} {called}"
            assert called not in RUNS_TEXT, place
            assert called not in BUILTINS or isinstance(node.func, ast.Attribute), place  # `re.compile` is another one
            assert all(keyword.arg != "shell" for keyword in node.keywords), place
            if called == "Popen" or (called in STARTS and owner in ("subprocess", "asyncio")):
                assert not name.startswith("alyx/"), place
                assert not isinstance(node.args[0], ast.JoinedStr | ast.Constant | ast.BinOp), f"{place}: no list"
                n_started += 1
    assert n_started > 8


def test_modules_are_imported_by_name_where_names_were_checked_alone():
    found = set()
    for name, path in modules().items():
        for node, called, _ in calls_in(path):
            if called in ("import_module", "exec_module") and not isinstance(node.args[0], ast.Constant):
                found.add(name)
    # Adapters of engines, and modules of steps, are named by the site and by this package.
    assert {name for name in found if not name.startswith(("pose/", "deploy/"))} == IMPORTERS


def test_filters_for_alyx_hold_nothing_but_checked_values():
    for name, path in modules().items():
        for text in re.findall(r'django=f?"([^"]*)"', path.read_text()):
            # Alyx evaluates parts of this filter: only what was checked to be a UUID, or is a number, may be in it.
            assert set(re.findall(r"{([^}]*)}", text)) <= {"session_id", "uuids"}, f"{name}: {text}"


def test_importing_the_package_or_the_room_imports_neither_one_nor_requests():
    code = "import sys, ibl_dask, ibl_dask.alyx.client, ibl_dask.alyx.sync, ibl_dask.alyx.session_results; "
    code += "print([name for name in ('one', 'requests', 'pandas') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_without_the_extra_the_message_names_it():
    code = "import sys; sys.modules['requests'] = None\n"
    code += "from ibl_dask.alyx.client import Alyx\nfrom ibl_dask.alyx.credentials import *\n"
    code += "import importlib.util as u; real = u.find_spec; import ibl_dask.alyx.packages as p\n"
    code += "p.find_spec = lambda name: None\nAlyx(Access('https://a.org', 'me', Token('x' * 40)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'ibl_dask[alyx]'" in found.stderr
