"""Files of SpikeGLX get the names and folders of the field, all of them or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibl_dask.errors import AlreadyThere, UnusableFile, UsageError
from ibl_dask.store.atomic import move
from ibl_dask.transfer import ephys_names
from ibl_dask.transfer.ephys_names import get_new_filename, move_ephys_files, rename_ephys_files


def session_with(root: Path, *names: str) -> Path:
    folder = root / "Subjects" / "SW_001" / "2023-05-01" / "001"
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def files_of(session: Path) -> dict[str, str]:
    return {p.relative_to(session).as_posix(): p.read_text() for p in session.rglob("*") if p.is_file()}


TWO_PROBES = (
    "raw_ephys_data/run_g0_imec0/run_g0_t0.imec0.ap.bin",
    "raw_ephys_data/run_g0_imec0/run_g0_t0.imec0.lf.meta",
    "raw_ephys_data/run_g0_imec1/run_g0_t0.imec1.ap.bin",
    "raw_ephys_data/run_g0_t0.nidq.bin",
    "raw_ephys_data/run_g0_t0.nidq.wiring.json",
    "raw_video_data/_iblrig_leftCamera.raw.avi",
)


def test_probes_and_daq_get_their_names_and_folders_and_a_second_call_changes_nothing(tmp_path: Path) -> None:
    session = session_with(tmp_path, *TWO_PROBES)
    for _ in range(2):
        rename_ephys_files(session)
        assert move_ephys_files(session, dry=True) == {session / "raw_ephys_data" / f"probe0{n}" for n in (0, 1)}
        assert move_ephys_files(session) is None
        assert files_of(session) == {
            "raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.ap.bin": TWO_PROBES[0],
            "raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.lf.meta": TWO_PROBES[1],
            "raw_ephys_data/probe01/_spikeglx_ephysData_g0_t0.imec1.ap.bin": TWO_PROBES[2],
            "raw_ephys_data/_spikeglx_ephysData_g0_t0.nidq.bin": TWO_PROBES[3],
            "raw_ephys_data/run_g0_t0.nidq.wiring.json": TWO_PROBES[4],
            "raw_video_data/_iblrig_leftCamera.raw.avi": TWO_PROBES[5],
        }
    folders = [path.name for path in (session / "raw_ephys_data").iterdir() if path.is_dir()]
    assert sorted(folders) == ["probe00", "probe01"]
    assert not (session / "ibl_dask").exists()


def test_two_runs_that_would_get_one_name_are_both_named_and_stay(tmp_path: Path) -> None:
    """The reference moves one onto the other."""
    names = (
        "raw_ephys_data/a_g0_t0.imec0.ap.bin",
        "raw_ephys_data/b_g0_t0.imec0.ap.bin",
        "raw_ephys_data/c_g0_t0.nidq.bin",
    )
    session = session_with(tmp_path, *names)
    with pytest.raises(AlreadyThere, match=r"two files would get one name.*a_g0_t0.*b_g0_t0"):
        rename_ephys_files(session)
    assert files_of(session) == {name: name for name in names}
    taken = (
        "raw_ephys_data/_spikeglx_ephysData_g0_t0.imec0.ap.bin",
        "raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.ap.bin",
    )
    other = session_with(tmp_path / "other", *taken)
    with pytest.raises(AlreadyThere):
        move_ephys_files(other)
    assert files_of(other) == {name: name for name in taken}


def test_an_error_in_the_middle_moves_back_what_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_with(tmp_path, *TWO_PROBES)
    before = files_of(session)

    def fails_at_the_third(path: Path, target: Path) -> None:
        if "imec1" in path.name and "_spikeglx" in target.name:
            raise PermissionError(13, "Permission denied", str(target))
        move(path, target)

    monkeypatch.setattr(ephys_names, "move", fails_at_the_third)
    with pytest.raises(OSError, match="cannot be written"):
        rename_ephys_files(session)
    assert files_of(session) == before


def test_a_name_that_is_none_of_spikeglx_is_refused(tmp_path: Path) -> None:
    for name in ("ephysData.imec0.ap.bin", "ephysData_g0_t0.bin", ""):
        with pytest.raises(UsageError, match="no name of a SpikeGLX file"):
            get_new_filename(name)
    session = session_with(tmp_path, "raw_ephys_data/run_g0_t0.imec.ap.bin", "raw_ephys_data/odd.ap.bin")
    with pytest.raises(UsageError, match=r"odd\.ap\.bin"):
        rename_ephys_files(session)
    with pytest.raises(UnusableFile, match="belongs to no known probe"):
        move_ephys_files(session)
    assert len(files_of(session)) == 2


def test_a_single_probe_is_known_by_its_folder(tmp_path: Path) -> None:
    session = session_with(tmp_path, "raw_ephys_data/probe01/run_g0_t0.imec.ap.bin")
    rename_ephys_files(session)
    move_ephys_files(session)
    assert list(files_of(session)) == ["raw_ephys_data/probe01/_spikeglx_ephysData_g0_t0.imec.ap.bin"]
