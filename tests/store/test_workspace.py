"""Where everything of a session lands."""

from __future__ import annotations

from pathlib import Path

import pytest
from one.alf import spec

from ibl_dask.errors import NotWritable
from ibl_dask.model.chunk import Chunk
from ibl_dask.model.session import Session
from ibl_dask.store.workspace import Workspace, default_work_dir


@pytest.fixture
def session(tmp_path: Path) -> Session:
    folder = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    folder.mkdir(parents=True)
    return Session(folder)


def test_scratch_is_beside_the_subjects_that_receive_results(session: Session, tmp_path: Path) -> None:
    assert default_work_dir(session) == tmp_path / "lab" / "Subjects" / ".ibl_dask"
    elsewhere = Session(session.path, tmp_path / "out")
    assert default_work_dir(elsewhere) == tmp_path / "out" / "lab" / "Subjects" / ".ibl_dask"


def test_scratch_variable_beats_the_default(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBL_DASK_SCRATCH", str(tmp_path / "fast"))
    assert default_work_dir(session) == tmp_path / "fast"


def test_sessions_of_one_name_have_their_own_scratch(session: Session, tmp_path: Path) -> None:
    other = tmp_path / "lab2" / "Subjects" / session.reference
    other.mkdir(parents=True)
    sessions = [session, Session(other), Session(session.path, tmp_path / "a"), Session(session.path, tmp_path / "b")]
    assert len({Workspace(s, tmp_path / "work").scratch for s in sessions}) == 4
    assert Workspace(session, tmp_path / "work").scratch == Workspace(Session(session.path), tmp_path / "work").scratch


def test_results_go_below_outputs_and_scratch_below_the_work_dir(session: Session, tmp_path: Path) -> None:
    space = Workspace(Session(session.path, tmp_path / "out"), tmp_path / "work")
    results = [
        space.times_file("left"),
        space.timing_file("left"),
        space.frames_store("left"),
        space.marker("times-left"),
        space.qc_file,
        space.provenance_file,
        space.report_file,
    ]
    assert all(path.is_relative_to(space.session.outputs) for path in results)
    scratch = [space.index_file("left"), space.chunk_file("left", Chunk(0, 9)), space.qc_part("left")]
    assert all(path.is_relative_to(tmp_path / "work") for path in scratch)
    assert not any(spec.is_valid(path.name) for path in scratch)
    assert spec.is_valid(space.times_file("left").name)


def test_no_two_chunks_share_a_file_and_names_sort_as_frames_do(session: Session, tmp_path: Path) -> None:
    space = Workspace(session, tmp_path)
    chunks = [Chunk(n, n + 500) for n in (0, 500, 99_500, 999_500, 1_000_000, 20_000_000)]
    paths = [space.chunk_file("left", chunk) for chunk in chunks]
    assert paths == sorted(set(paths))
    assert space.chunk_file("left", Chunk(0, 400)) != paths[0]
    assert space.chunk_file("right", chunks[0]) != paths[0]


def test_place_that_can_be_written_to_passes(session: Session, tmp_path: Path) -> None:
    Workspace(session, tmp_path / "work").check_writable()


@pytest.mark.parametrize("place", ["output root", "work dir"])
def test_place_that_cannot_be_written_to_is_refused_before_anything_runs(
    session: Session, tmp_path: Path, place: str
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x")
    if place == "output root":
        space = Workspace(Session(session.path, blocked), tmp_path / "work")
    else:
        space = Workspace(session, blocked)
    with pytest.raises(NotWritable, match="cannot be written") as caught:
        space.check_writable()
    assert Path(caught.value.where).is_relative_to(blocked)
    assert "--output-root" in caught.value.do
    assert "--work-dir" in caught.value.do


def test_file_system_that_takes_no_folder_is_refused(session: Session, tmp_path: Path) -> None:
    with pytest.raises(NotWritable):
        Workspace(Session(session.path, Path("/proc/nothing/here")), tmp_path / "work").check_writable()


def test_cleaning_removes_the_scratch_of_this_session_alone(session: Session, tmp_path: Path) -> None:
    mine = Workspace(session, tmp_path / "work")
    other = Workspace(Session(session.path, tmp_path / "out"), tmp_path / "work")
    for space in (mine, other):
        space.check_writable()
        space.index_file("left").write_bytes(b"x")
    mine.clean()
    assert not mine.scratch.exists()
    assert other.index_file("left").exists()
    assert mine.session.own.exists()
    mine.clean()
