"""What tasks of other packages are kept from without a database, and packages that they need besides their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from other_environment import make_environment

from ibl_dask.model.session import Session
from ibl_dask.model.status import Status
from ibl_dask.model.task import TaskSpec
from ibl_dask.tasks.catalogue import FIELD_TASKS
from ibl_dask.tasks.external.environments import Environments
from ibl_dask.tasks.external.task import ForeignTask
from ibl_dask.tasks.registry import build_task

PACKAGE = '''
import logging
from pathlib import Path

from elsewhere import Task


class Updates(Task):
    """As the field's trials: all is written before the database is asked."""

    leaves = ("alf/out.txt",)

    def _run(self, update=True, upload_plots=True, save=True, **kwargs):
        out = self.session_path / "alf" / "out.txt"
        out.parent.mkdir(exist_ok=True)
        out.write_text(repr((type(self.session_path), update, upload_plots, save, kwargs)))
        if update:
            self.one.alyx
        return [out]


class Snapshots(Task):
    leaves = ("alf/out.txt",)

    def _run(self, symlink_old=True):
        out = self.session_path / "alf" / "out.txt"
        out.parent.mkdir(exist_ok=True)
        out.write_text("renamed")
        self.register_snapshots(unlink=True)
        return [out]

    def register_snapshots(self, unlink=False, collection=None):
        raise AssertionError("an online database is needed")


class TakesAPath(Task):
    def __init__(self, session_path, **kwargs):
        self.found = session_path.joinpath("raw")
        super().__init__(session_path, **kwargs)

    def _run(self):
        return [self.found / "in.txt"]
'''


@pytest.fixture
def session(tmp_path: Path) -> Session:
    folder = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "in.txt").write_text("hello")
    return Session(folder)


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    make_environment(tmp_path / "env")
    (tmp_path / "env" / "site" / "database.py").write_text(PACKAGE)
    return Environments({"ibllib": str(tmp_path / "env")})


def test_what_writes_to_the_database_is_left_out_and_all_else_is_done(
    session: Session, environments: Environments
) -> None:
    task = build_task(TaskSpec("Updates_00", "database.Updates", {}), session, environments=environments)
    assert task.run() == 0, task.failures
    kind, *told = (session.path / "alf" / "out.txt").read_text().split(", ")
    assert "Path" in kind
    assert told == ["False", "False", "True", "{})"]


def test_what_the_caller_says_of_the_database_stands(session: Session, environments: Environments) -> None:
    task = build_task(TaskSpec("Updates_00", "database.Updates", {}), session, environments=environments)
    assert task.run(update=True) == -1
    assert "AttributeError" in task.failures[0].message


def test_snapshots_are_left_for_those_who_have_a_database(session: Session, environments: Environments) -> None:
    task = build_task(TaskSpec("Snapshots_00", "database.Snapshots", {}), session, environments=environments)
    assert task.run() == 0, task.failures
    assert task.state is Status.COMPLETE
    assert (session.path / "alf" / "out.txt").read_text() == "renamed"


def test_a_session_is_given_as_a_path(session: Session, environments: Environments) -> None:
    task = build_task(TaskSpec("Takes_00", "database.TakesAPath", {}), session, environments=environments)
    assert task.run() == 0, task.failures
    assert task.outputs == [session.path / "raw" / "in.txt"]


@pytest.mark.parametrize(
    ("name", "package"),
    [("WidefieldCompress", "labcams"), ("WidefieldSync", "labcams"), ("WidefieldPreprocess", "wfield")],
)
def test_a_package_that_a_task_calls_and_its_own_does_not_bring_is_named_before_it_starts(
    session: Session, tmp_path: Path, name: str, package: str
) -> None:
    executable = f"{FIELD_TASKS[name].module}.{name}"
    make_environment(tmp_path / "env", "ibllib")
    environments = Environments({"ibllib": str(tmp_path / "env")})
    task = build_task(TaskSpec(name, executable, {}), session, environments=environments)
    unmet_requirement = task.unmet_requirement()
    assert unmet_requirement is not None
    assert unmet_requirement.category == "environment"
    assert f"the environment 'ibllib' does not hold {package}" in unmet_requirement.message
    (tmp_path / "env" / "site" / f"{package}.py").write_text("")
    other = Environments({"ibllib": str(make_link(tmp_path / "env" / "bin" / "python"))})
    assert build_task(TaskSpec(name, executable, {}), session, environments=other).unmet_requirement() is None


def make_link(python: Path) -> Path:
    """Return the same python at another place: what an environment holds is asked once."""
    link = python.with_name("python3")
    link.write_text(python.read_text())
    link.chmod(0o755)
    return link


def test_these_of_the_field_s_tasks_are_the_database_s_own(session: Session, tmp_path: Path) -> None:
    make_environment(tmp_path / "env", "ibllib")
    place = str(tmp_path / "env")
    environments = Environments(dict.fromkeys(("ibllib", "dlc", "litpose", "iblsorter"), place))
    held = set()
    for name, known in FIELD_TASKS.items():
        spec = TaskSpec(f"{name}_00", f"{known.module}.{name}", {})
        unmet_requirement = ForeignTask(session, spec=spec, environments=environments).unmet_requirement()
        if unmet_requirement is not None and "needs Alyx" in unmet_requirement.message:
            assert "nothing else waits for it but its children" in unmet_requirement.message
            held.add(name)
    assert held == {name for name, row in FIELD_TASKS.items() if row.needs_alyx}
    assert held == {"ExperimentDescriptionRegisterRaw", "TrainingStatus", "EphysRegisterRaw", "RawEphysQC", "DLC"}
