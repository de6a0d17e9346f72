"""Sessions named by their identifiers in Alyx."""

from __future__ import annotations

from pathlib import Path

import pytest
from described import described

from ibl_dask.cli.sessions import find_sessions
from ibl_dask.errors import NotASession, OutsideSession, UnsafeName


@pytest.fixture(autouse=True)
def _access(fake, monkeypatch, tmp_path: Path):
    for name, value in (
        ("ALYX_URL", fake.url), ("ALYX_USER", "test_user"), ("ALYX_TOKEN", "0" * 39 + "1"),
        ("SUBJECTS", f"{tmp_path / 'nothing'}:{tmp_path / 'Subjects'}"),
    ):  # fmt: skip
        monkeypatch.setenv(f"IBL_DASK_{name}", value)


def test_an_identifier_stands_for_the_folder_of_its_session(fake, tmp_path: Path) -> None:
    path = described(tmp_path, "TST_001/2026-11-20/001")
    eid = fake.world.add_session("TST_001")
    listed = tmp_path / "list.txt"
    listed.write_text(f"{eid}  # in a list as well\n")
    assert find_sessions([eid, str(path), str(listed)]) == [path]


def test_a_lab_may_stand_above_its_subjects(fake, tmp_path: Path, monkeypatch) -> None:
    path = described(tmp_path / "cortexlab", "TST_001/2026-11-20/001")
    monkeypatch.setenv("IBL_DASK_SUBJECTS", str(tmp_path))
    assert find_sessions([fake.world.add_session("TST_001")]) == [path]


def test_a_session_that_is_not_here_says_where_it_was_looked_for(fake, tmp_path: Path) -> None:
    with pytest.raises(NotASession, match="this session is not here") as caught:
        find_sessions([fake.world.add_session("TST_002")])
    assert str(tmp_path / "Subjects" / "TST_002" / "2026-11-20" / "001") in caught.value.expected
    with pytest.raises(NotASession, match="Alyx has no session"):
        find_sessions(["f9502295-bd4c-4643-99a6-99278d7d75ac"])


def test_an_answer_of_the_server_leads_nowhere_else(fake) -> None:
    fake.world.add_subject("../../etc")
    with pytest.raises(OutsideSession):
        find_sessions([fake.world.add_session("../../etc")])


@pytest.mark.parametrize("key", ["subject", "lab", "start_time", "number"])
def test_no_name_of_the_server_is_one_that_a_shell_would_run(fake, tmp_path: Path, key: str) -> None:
    (tmp_path / "x;touch HIT" / "Subjects" / "TST_001" / "2026-11-20" / "001").mkdir(parents=True)
    eid = fake.world.add_session("TST_001")
    fake.world.sessions[eid][key] = "x;touch HIT"
    with pytest.raises(UnsafeName):
        find_sessions([eid])
