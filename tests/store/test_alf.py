"""Finding inputs and writing ALF files."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one.alf import io as alfio

from ibl_dask.errors import MissingFile, NotWritable
from ibl_dask.model.session import Session
from ibl_dask.store import alf

UUID = "01234567-89ab-cdef-0123-456789abcdef"


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def session(tmp_path: Path) -> Session:
    folder = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    folder.mkdir(parents=True)
    return Session(folder)


@pytest.fixture
def elsewhere(session: Session, tmp_path: Path) -> Session:
    return Session(session.path, tmp_path / "out")


def test_file_is_found_under_its_plain_name(session: Session) -> None:
    path = session.path / "alf" / "_ibl_leftCamera.times.npy"
    assert alf.find(session, "alf", path.name) is None
    touch(path)
    assert alf.find(session, "alf", path.name) == path


@pytest.mark.parametrize("unique", [UUID, UUID.upper()])
def test_file_with_a_dataset_uuid_is_found_under_its_plain_name(session: Session, unique: str) -> None:
    path = session.path / "alf" / f"_ibl_leftCamera.times.{unique}.npy"
    touch(path)
    assert alf.find(session, "alf", "_ibl_leftCamera.times.npy") == path
    assert alf.find(session, "alf", "_ibl_*Camera.times.npy") == path


@given(unique=st.uuids())
def test_plain_name_wins_over_a_copy_with_a_uuid(tmp_path_factory: pytest.TempPathFactory, unique: uuid.UUID) -> None:
    folder = tmp_path_factory.mktemp("s") / "SW_001" / "2023-05-01" / "001"
    for name in ("x.bin", "x.avi", "x.npy"):
        copy = folder / "raw" / f"{name[:-4]}.{unique}{name[-4:]}"
        touch(folder / "raw" / name, copy)
        assert alf.find(Session(folder), "raw", name) == folder / "raw" / name
        assert alf.find(Session(folder), "raw", f"*{name[-4:]}") == folder / "raw" / name


@pytest.mark.parametrize(
    "name",
    [
        "_ibl_leftCamera.times.npz",
        "_ibl_leftCamera.times.extra.npy",
        "_ibl_leftCamera.times.01234567.npy",
        "_ibl_leftCameraXtimes.npy",
        "x_ibl_leftCamera.times.npy",
        "_ibl_leftCamera.times.npy.part",
        "._ibl_leftCamera.times.npy.host-1-ab.tmp",
    ],
)
def test_other_names_do_not_match(session: Session, name: str) -> None:
    touch(session.path / "alf" / name)
    assert alf.find(session, "alf", "_ibl_leftCamera.times.npy") is None


def test_wildcards_match_within_a_name_and_take_the_first(session: Session) -> None:
    raw = session.path / "raw_video_data"
    touch(raw / "_iblrig_leftCamera.raw.mp4", raw / "_iblrig_leftCamera.raw.avi", raw / "_iblrig_bodyCamera.raw.mp4")
    assert alf.find(session, "raw_video_data", "_iblrig_leftCamera.raw.*") == raw / "_iblrig_leftCamera.raw.avi"
    assert alf.find(session, "raw_video_data", "_iblrig_*Camera.raw.mp4") == raw / "_iblrig_bodyCamera.raw.mp4"


def test_brackets_and_dots_in_a_pattern_mean_themselves(session: Session) -> None:
    touch(session.path / "raw" / "a1xbin")
    assert alf.find(session, "raw", "a[1].bin") is None
    touch(session.path / "raw" / "a[1].bin")
    assert alf.find(session, "raw", "a[1].bin") is not None


def test_deeper_folders_are_not_searched(session: Session) -> None:
    touch(
        session.path / "alf" / "old" / "wheel.position.npy",
        session.path / "alf" / "#2024-01-01#" / "wheel.position.npy",
    )
    assert alf.find(session, "alf", "wheel.position.npy") is None
    assert alf.find(session, "", "wheel.position.npy") is None
    assert alf.find(session, "alf", "*wheel.position.npy") is None


def test_output_root_is_looked_up_before_the_session(elsewhere: Session) -> None:
    raw = elsewhere.path / "alf" / "wheel.position.npy"
    touch(raw)
    assert alf.find(elsewhere, "alf", "wheel.position.npy") == raw
    ours = elsewhere.outputs / "alf" / f"wheel.position.{UUID}.npy"
    touch(ours)
    assert alf.find(elsewhere, "alf", "wheel.position.npy") == ours


def test_missing_file_names_pattern_place_neighbours_and_what_to_do(session: Session) -> None:
    with pytest.raises(MissingFile) as caught:
        alf.require(session, "alf", "wheel.*.npy", do="extract the wheel")
    assert (caught.value.expected, caught.value.got) == ("wheel.*.npy", "no such folder")
    assert caught.value.where == str(session.path / "alf" / "wheel.*.npy")
    assert caught.value.do == "extract the wheel"
    (session.path / "alf").mkdir()
    with pytest.raises(MissingFile, match="an empty folder"):
        alf.require(session, "alf", "wheel.*.npy", do="")
    touch(*(session.path / "alf" / f"n{i}.npy" for i in range(9)))
    with pytest.raises(FileNotFoundError, match=r"a folder with n0.npy, .*n7.npy, \.\.\."):
        alf.require(session, "alf", "wheel.*.npy", do="")


def test_required_file_that_is_there_is_returned(session: Session) -> None:
    touch(session.path / "alf" / "wheel.position.npy")
    assert alf.require(session, "alf", "wheel.position.npy", "").name == "wheel.position.npy"


def test_identity_tells_versions_apart_and_not_places(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "x.bin", tmp_path / "b" / "x.bin"
    touch(one)
    one.write_bytes(b"12")
    other.parent.mkdir()
    other.hardlink_to(one)
    assert alf.identity(one) == alf.identity(other)
    before = alf.identity(one)
    one.write_bytes(b"123")
    assert alf.identity(one) != before
    assert alf.identity(None) is None


@given(st.lists(st.floats(), max_size=30))
def test_array_is_written_as_one_reads_it(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    folder = tmp_path_factory.mktemp("alf")
    path = folder / "_ibl_leftCamera.times.npy"
    assert alf.publish_npy(path, np.array(values)) == path
    loaded = alfio.load_object(folder, "leftCamera")["times"]
    np.testing.assert_array_equal(loaded, np.array(values))
    assert [p.name for p in folder.iterdir()] == [path.name]


def test_same_content_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "_ibl_leftCamera.times.npy"
    alf.publish_npy(path, np.arange(3))
    before = alf.identity(path)
    assert alf.publish_npy(path, np.arange(3)) == path
    assert alf.identity(path) == before
    assert alf.publish_npy(path, np.arange(4)) == alf.publish_npy(path, np.arange(4)) != path


def test_other_content_makes_a_new_revision_and_destroys_nothing(tmp_path: Path) -> None:
    path = tmp_path / "_ibl_leftCamera.times.npy"
    assert alf.latest(path) is None
    places = []
    for n in range(60):
        places.append(alf.publish_npy(path, np.arange(n)))
        assert alf.latest(path) == places[-1]
    assert len(set(places)) == 60
    assert [len(np.load(place)) for place in places] == list(range(60))
    assert re.fullmatch(r"#\d{4}-\d\d-\d\d#", places[1].parent.name)


def test_revision_of_an_earlier_day_is_older_than_todays(tmp_path: Path) -> None:
    path = tmp_path / "alf" / "x.times.npy"
    earlier = path.parent / "#2023-01-02#" / path.name
    touch(path, earlier)
    earlier.write_bytes(b"of another program")
    assert alf.latest(path) == earlier
    made = alf.publish_npy(path, np.arange(2))
    assert alf.latest(path) == made != earlier


def test_overwriting_replaces_the_newest_revision(tmp_path: Path) -> None:
    path = tmp_path / "_ibl_leftCamera.times.npy"
    alf.publish_npy(path, np.arange(1))
    revision = alf.publish_npy(path, np.arange(2))
    assert alf.publish_npy(path, np.arange(3), overwrite=True) == revision
    assert [len(np.load(p)) for p in (path, revision)] == [1, 3]
    assert alf.publish_npy(tmp_path / "new.times.npy", np.arange(3), overwrite=True).exists()


def test_object_arrays_are_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.times.npy"
    alf.publish_npy(path, np.arange(3))
    with pytest.raises(ValueError, match="Object arrays"):
        alf.publish_npy(path, np.array([{}], object))
    assert np.load(path).tolist() == [0, 1, 2]


def test_full_disk_says_so(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(NotWritable, match="the disk is full"):
        alf.publish_npy(tmp_path / "x.times.npy", np.zeros(100_000))
    assert list(tmp_path.iterdir()) == []
