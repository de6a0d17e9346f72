"""What is shipped beside the package agrees with it: recipe, container, constraints, versions."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import ibl_dask

ROOT = Path(__file__).resolve().parents[1]
OF_CONDA = {"dask": "dask-core", "opencv-python-headless": "py-opencv"}
"""Name on PyPI -> name on conda-forge, where they differ."""


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def recipe():
    return yaml.safe_load((ROOT / "packaging" / "recipe.yaml").read_text())


def bounds(lines):
    """Return `{name: lowest version}`."""
    return dict(re.fullmatch(r"([\w.-]+) ?>=([\d.]+)", line).groups() for line in lines)


def test_the_conda_recipe_asks_for_what_the_wheel_asks_for(project, recipe):
    wanted = {OF_CONDA.get(name, name): lowest for name, lowest in bounds(project["dependencies"]).items()}
    wanted["python"] = project["requires-python"].removeprefix(">=")
    assert bounds(recipe["requirements"]["run"]) == wanted


def test_the_conda_recipe_has_the_program_and_version_of_the_package(project, recipe):
    assert recipe["context"]["version"] == ibl_dask.__version__
    assert recipe["build"]["python"]["entry_points"] == [f"{name} = {at}" for name, at in project["scripts"].items()]


def test_the_changelog_has_this_version():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert any(ibl_dask.__version__ in heading for heading in headings)


def test_the_container_copies_what_exists_and_installs_extras_that_exist(project):
    sections = re.split(r"^%(\w+)\n", (ROOT / "packaging" / "ibl_dask.def").read_text(), flags=re.MULTILINE)
    named = dict(zip(sections[1::2], sections[2::2], strict=True))
    sources = [line.split()[0] for line in named["files"].splitlines() if line.strip()]
    assert "pyproject.toml" in sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    (extras,) = re.findall(r"\[([\w,]+)\]", named["post"])
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    shellcheck = Path(sys.executable).with_name("shellcheck")
    told = subprocess.run(
        [shellcheck, "--shell=sh", "-"], input=named["post"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout


def test_lowest_versions_name_each_dependency_of_the_package_and_its_extras(project):
    lowest = subprocess.run(
        [sys.executable, ROOT / ".ci" / "lowest_versions"], capture_output=True, text=True, check=True
    )
    named = {line.partition("==")[0] for line in lowest.stdout.splitlines()}
    extras = project["optional-dependencies"]
    wanted = [line for name in extras if name not in ("docs", "test") for line in extras[name]]
    assert named == set(bounds([*project["dependencies"], *wanted]))
    assert "pytest" not in named
