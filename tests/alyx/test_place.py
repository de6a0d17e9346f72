"""Data repository and lab of a server: names that are none are refused, and each server takes its own rows alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alyx_passes import PLACE
from described import described

from ibl_dask.alyx import local_server
from ibl_dask.alyx.health import report_health
from ibl_dask.alyx.repository import VARIABLE, Place, find_place
from ibl_dask.alyx.serve import Server
from ibl_dask.alyx.task_queue import rows_of
from ibl_dask.errors import UsageError
from ibl_dask.model.status import Status
from ibl_dask.store.json_files import read_object

ODD = ["x/../../../../evil/y", "../x", "a/b", "a\nb", "", "x" * 256, "a b"]


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_leads_elsewhere_is_no_repository_and_no_lab(name: str) -> None:
    with pytest.raises(UsageError, match="no name of a repository"):
        Place(name, ("cortexlab",))
    with pytest.raises(UsageError, match="no name of a repository"):
        Place(None, (name,))


def test_a_row_whose_repository_leads_elsewhere_makes_no_lock_there(fake, alyx, tmp_path: Path) -> None:
    described(tmp_path, "SW_001/2026-11-20/001")
    eid = fake.world.add_session("SW_001")
    key = fake.world.add_task(eid, "TaskDone", executable="seven_tasks.TaskDone", data_repository=ODD[0])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="no name of a"):
        local_server.tasks_runner(tmp_path / "Subjects", [fake.world.tasks[key]], alyx)
    made = [path for path in tmp_path.rglob("*") if path not in before]
    assert all(path.is_relative_to(tmp_path / "Subjects" / ".ibl_dask") for path in made)
    assert not fake.requests


def test_a_row_without_a_repository_belongs_to_no_server_unless_one_takes_it(fake, alyx) -> None:
    eid = fake.world.add_session("SW_001")
    own = fake.world.add_task(eid, "Own")
    free = fake.world.add_task(eid, "Free", data_repository=None)
    fake.world.add_task(eid, "Other", data_repository="flatiron_cortexlab")

    def taken(place: Place) -> set[str]:
        return {row["id"] for row in rows_of(alyx, place, Status.WAITING)}

    assert taken(PLACE) == {own}
    assert taken(Place(PLACE.repository, PLACE.labs, takes_unassigned=True)) == {own, free}


def test_a_lab_without_a_repository_serves_nothing(fake, alyx, tmp_path: Path, monkeypatch) -> None:
    """Its files could not be registered: each task would end Errored."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    place = find_place(alyx, lab="cortexlab")
    with pytest.raises(UsageError, match="repository is not named"):
        Server(alyx, place, tmp_path, tmp_path / ".ibl_dask", frozenset())
    monkeypatch.setenv(VARIABLE, "cortexlab_local")
    place = find_place(alyx, lab="cortexlab")
    assert place == PLACE
    Server(alyx, place, tmp_path, tmp_path / ".ibl_dask", frozenset(), creates=False).serve(once=True)


def test_the_health_of_a_server_is_noted_as_recorded_beside_other_entries(fake, alyx, alyx_contract, tmp_path) -> None:
    recorded = read_object(alyx_contract / "106-patch-data_repository-cortexlab_local.json")
    fake.world.repositories["cortexlab_local"]["json"] = {"kept": [1]}
    fake.requests.clear()
    noted = report_health(alyx, "cortexlab_local", tmp_path)
    changes = [(method, path, body) for method, path, _, body in fake.requests if method != "GET"]
    request = recorded["request"]
    ((method, path, body),) = changes
    assert (method, path) == (request["method"], request["path"])
    sent = json.loads(body)
    assert sent.keys() == request["json"].keys() == {"json"}
    assert sent["json"].keys() >= request["json"]["json"].keys()
    stored = fake.world.repositories["cortexlab_local"]
    assert stored["json"] == noted == {**noted, "kept": [1]}
    assert stored.keys() == recorded["response"]["json"].keys()
    assert 0 < noted["raid_available"] <= noted["raid_total"]
    assert noted["ibl_dask_version"]
