"""Session folders and where their results go."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ibl_dask as ibd
from ibl_dask.errors import DescriptionError, NotASession
from ibl_dask.model.session import Session

SUBJECT = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["C"]), min_size=1).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    "path",
    [
        "SW_001/2023-05-01/001",
        "cortexlab/Subjects/SW 001/2023-05-01/1",
        "any/depth/at/all/KS-014_b.2/2019-12-31/012",
        "2020-01-01/2023-05-01/001",
    ],
)
def test_any_folder_that_ends_in_subject_date_number_is_a_session(tmp_path: Path, path: str) -> None:
    session = Session(made(tmp_path / path))
    assert [session.subject, session.date, session.number] == path.split("/")[-3:]
    assert session.reference == "/".join(path.split("/")[-3:])


@given(subject=SUBJECT, number=st.integers(0, 999))
def test_subject_may_be_any_folder_name(tmp_path_factory: pytest.TempPathFactory, subject: str, number: int) -> None:
    folder = made(tmp_path_factory.mktemp("s") / subject / "2023-05-01" / f"{number:03d}")
    session = Session(folder)
    assert session.subject == subject
    assert session.own.parent == folder


def test_string_and_relative_path_name_the_same_session_as_the_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path / "SW_001" / "2023-05-01" / "001")
    monkeypatch.chdir(tmp_path)
    assert Session(Path("SW_001/2023-05-01/001")) == Session(folder)
    monkeypatch.chdir(folder)
    assert Session(Path()).reference == "SW_001/2023-05-01/001"
    assert hash(Session(Path())) == hash(Session(folder))


@pytest.mark.parametrize(
    "path",
    ["SW_001/2023-05-01", "SW_001/20230501/001", "SW_001/2023-05-01/0001", "SW_001/2023-05-01/001/alf", "001"],
)
def test_other_folders_are_refused_with_what_where_expected_got_do(tmp_path: Path, path: str) -> None:
    folder = made(tmp_path / path)
    with pytest.raises(NotASession) as caught:
        Session(folder)
    error = caught.value
    assert error.where == str(folder)
    assert "subject/YYYY-MM-DD/NNN" in error.expected
    assert error.got
    assert str(folder).endswith(error.got)
    assert error.do
    for part in (error.what, error.where, error.expected, error.got, error.do):
        assert part in str(error)


def test_session_that_is_not_there_says_so_when_it_is_used(tmp_path: Path) -> None:
    session = Session(tmp_path / "SW_001" / "2023-05-01" / "001")
    with pytest.raises(NotASession, match="nothing at this path"):
        session.look()
    with pytest.raises(NotASession, match="nothing at this path"):
        _ = session.description
    made(tmp_path / "SW_001" / "2023-05-01")
    (tmp_path / "SW_001" / "2023-05-01" / "001").write_text("x")
    with pytest.raises(NotASession, match="a file"):
        session.look()


def test_a_session_of_a_notebook_is_looked_for_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotASession, match="nothing at this path"):
        ibd.Session(tmp_path / "SW_001" / "2023-05-01" / "001")


def test_refusal_can_be_caught_as_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a session folder"):
        Session(tmp_path)


def test_without_output_root_results_go_into_the_session(tmp_path: Path) -> None:
    folder = made(tmp_path / "SW_001" / "2023-05-01" / "001")
    session = Session(folder)
    assert session.outputs == folder
    assert session.own == folder / "ibl_dask"
    assert session.roots == (folder,)


@pytest.mark.parametrize(
    ("below", "mirrored"),
    [
        ("cortexlab/Subjects/SW_001/2023-05-01/001", "cortexlab/Subjects/SW_001/2023-05-01/001"),
        ("deep/er/cortexlab/Subjects/SW_001/2023-05-01/001", "cortexlab/Subjects/SW_001/2023-05-01/001"),
        ("mice/SW_001/2023-05-01/001", "SW_001/2023-05-01/001"),
    ],
)
def test_output_root_mirrors_lab_and_subjects(tmp_path: Path, below: str, mirrored: str) -> None:
    folder = made(tmp_path / "data" / below)
    session = Session(folder, tmp_path / "results")
    assert session.outputs == tmp_path / "results" / mirrored
    assert session.own == session.outputs / "ibl_dask"
    assert session.roots == (session.outputs, folder)
    assert not session.outputs.exists()


def test_output_root_that_is_the_sessions_own_root_looks_in_one_place(tmp_path: Path) -> None:
    folder = made(tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001")
    assert Session(folder, tmp_path).roots == (folder,)


def test_two_labs_with_one_subject_name_do_not_share_an_output_folder(tmp_path: Path) -> None:
    sessions = [
        Session(made(tmp_path / lab / "Subjects" / "SW_001" / "2023-05-01" / "001"), tmp_path / "out")
        for lab in ("lab_a", "lab_b")
    ]
    assert sessions[0].outputs != sessions[1].outputs


def test_description_in_the_output_root_wins(tmp_path: Path) -> None:
    folder = made(tmp_path / "SW_001" / "2023-05-01" / "001")
    (folder / "_ibl_experiment.description.yaml").write_text("projects: [raw]\n")
    assert Session(folder, tmp_path / "out").description.projects == ("raw",)
    outputs = made(tmp_path / "out" / "SW_001" / "2023-05-01" / "001")
    (outputs / "_ibl_experiment.description.yaml").write_text("projects: [mended]\n")
    assert Session(folder, tmp_path / "out").description.projects == ("mended",)


def test_description_may_carry_a_dataset_uuid(tmp_path: Path) -> None:
    folder = made(tmp_path / "SW_001" / "2023-05-01" / "001")
    name = "_ibl_experiment.description.01234567-89ab-cdef-0123-456789abcdef.yaml"
    (folder / name).write_text("projects: [p]\n")
    assert Session(folder).description.projects == ("p",)


def test_missing_description_says_what_to_do(tmp_path: Path) -> None:
    session = Session(made(tmp_path / "SW_001" / "2023-05-01" / "001"))
    with pytest.raises(DescriptionError) as caught:
        _ = session.description
    assert caught.value.where == str(session.path)
    assert "_ibl_experiment.description.yaml" in caught.value.expected
    assert caught.value.do


def test_session_survives_pickling(tmp_path: Path) -> None:
    folder = made(tmp_path / "SW_001" / "2023-05-01" / "001")
    (folder / "_ibl_experiment.description.yaml").write_text("projects: [p]\n")
    session = Session(folder, tmp_path / "out")
    assert session.description.projects == ("p",)
    again = pickle.loads(pickle.dumps(session))
    assert again == session
    assert again.description == session.description
