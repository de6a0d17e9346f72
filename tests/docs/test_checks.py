"""The catalogue of checks is that of the code, and every check names what to do."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import ibl_dask.qc.checks  # noqa: F401  # registers them
from ibl_dask.model.check_remedies import REMEDIES
from ibl_dask.model.outcome import Outcome
from ibl_dask.qc.pose import CHECKS as POSE_CHECKS
from ibl_dask.qc.registry import name_of, registered_checks

DOCS = Path(__file__).parents[2] / "docs"


def program(name: str) -> ModuleType:
    """Import a program of the documents."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_checks_is_what_the_code_makes_of_it() -> None:
    module = program("make_checks")
    assert (DOCS / "checks.md").read_text(encoding="utf-8") == module.page(), "run: python docs/make_checks.py"


def test_every_check_names_what_to_do() -> None:
    names = {*registered_checks(), *(name_of(function) for many in POSE_CHECKS.values() for function in many)}
    assert names == set(REMEDIES)


def test_a_picture_of_a_failure_is_one_by_the_judgement_of_its_check() -> None:
    outcomes = program("make_check_pictures").outcomes()
    assert set(outcomes.values()) == {Outcome.WARNING, Outcome.FAIL}
    for name, outcome in outcomes.items():
        picture = DOCS / "pictures" / "checks" / f"{name}.svg"
        assert f"{name}: {outcome.name}" in picture.read_text(encoding="utf-8"), "python docs/make_check_pictures.py"
        assert picture.stat().st_size < 30_000
