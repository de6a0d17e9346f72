"""Exports of keypoints, each read back by the library that it is for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from needs import MOVEMENT
from posed_sessions import RELATIVE, write_poses
from typer.testing import CliRunner

from ibl_dask.cli.app import app
from ibl_dask.export.content import PosedCamera
from ibl_dask.export.prediction_tables import prediction_frame
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.prediction_csv import keypoints_from_csv

STEM = "_iblrig_leftCamera.rawDLC_ibl_dask"


def export(folder, *options):
    return CliRunner().invoke(app, ["export", str(folder), *map(str, options)])


@pytest.fixture
def session(tmp_path):
    folder = tmp_path / RELATIVE
    write_poses(folder, "left")
    return folder


def test_deeplabcut_finds_its_table_by_the_name_of_the_video(session):
    keypoints = write_poses(session, "left")
    result = export(session, "--format", "dlc")
    assert result.exit_code == 0, result.output
    folder = session / "ibl_dask" / "export"
    assert sorted(path.name for path in folder.iterdir()) == [f"{STEM}.csv", f"{STEM}.h5"]
    table = pd.read_hdf(folder / f"{STEM}.h5")  # as DeepLabCut reads it
    assert table.columns.names == ["scorer", "bodyparts", "coords"]
    assert list(table.index) == list(range(len(keypoints)))
    (scorer,) = set(table.columns.get_level_values("scorer"))
    assert list(dict.fromkeys(table.columns.get_level_values("bodyparts"))) == list(keypoints.names)
    for name in keypoints.names:
        part = table[scorer][name]
        assert list(part.columns) == ["x", "y", "likelihood"]
        assert np.array_equal(part[["x", "y"]], keypoints.of(name), equal_nan=True)
        assert np.array_equal(part["likelihood"], keypoints.likelihood(name))
    text = pd.read_csv(folder / f"{STEM}.csv", header=[0, 1, 2], index_col=0)
    assert np.array_equal(text, table, equal_nan=True)
    assert text.columns.equals(table.columns)


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(0, 20), st.just(2), st.just(3)),
        elements=st.floats(allow_infinity=False, width=64),
    )
)
def test_csv_holds_every_number_to_the_last_bit(values):
    keypoints = Keypoints(("nose, tip", "paw_l"), values)
    text = prediction_frame(PosedCamera("left", "lightningPose", keypoints, "alf/x.pqt")).to_csv()
    text = text.replace(",\n", ",nan\n")
    for _ in range(6):
        text = text.replace(",,", ",nan,")
    assert np.array_equal(keypoints_from_csv(text).values, values, equal_nan=True)


def test_csv_of_lightning_pose_has_three_rows_of_headers(session):
    keypoints = write_poses(session, "left", "lightningPose", seed=3)
    result = export(session, "--format", "csv", "--estimator", "lightning_pose")
    assert result.exit_code == 0, result.output
    (path,) = (session / "ibl_dask" / "export").iterdir()
    table = pd.read_csv(path, header=[0, 1, 2], index_col=0)  # as Lightning Pose reads it
    assert np.array_equal(table.to_numpy().reshape(keypoints.values.shape), keypoints.values, equal_nan=True)


def test_ensemble_columns_do_not_shift_the_columns_of_keypoints(session):
    values = np.arange(24.0).reshape(4, 2, 3)
    further = {f"{name}_{axis}_ens_var": np.full(4, 9.0) for name in "ab" for axis in "xy"}
    table = prediction_frame(PosedCamera("left", "dlc", Keypoints(("a", "b"), values, further), "alf/x.pqt"))
    assert np.array_equal(table.to_numpy().reshape(4, 2, 3), values)


def test_movement_dataset_has_its_dimensions_and_the_times_of_the_main_clock(session):
    keypoints = write_poses(session, "left")
    result = export(session, "--format", "movement")
    assert result.exit_code == 0, result.output
    dataset = xr.load_dataset(session / "ibl_dask" / "export" / "leftCamera-dlc.nc", engine="scipy")
    assert dataset.position.dims == ("time", "space", "keypoint", "individual")
    assert dataset.confidence.dims == ("time", "keypoint", "individual")
    assert dataset.attrs["ds_type"] == "poses"
    assert dataset.attrs["time_unit"] == "seconds"
    assert "fps" not in dataset.attrs
    times = np.load(session / "alf" / "_ibl_leftCamera.times.npy")
    assert np.array_equal(dataset.time, times)
    assert np.array_equal(dataset.frame, np.arange(len(times)))
    for name in keypoints.names:
        point = dataset.position.sel(keypoint=name, individual="mouse")
        assert np.array_equal(point.sel(space="x"), keypoints.of(name)[:, 0], equal_nan=True)
        assert np.array_equal(point.sel(space="y"), keypoints.of(name)[:, 1], equal_nan=True)
        assert np.array_equal(dataset.confidence.sel(keypoint=name, individual="mouse"), keypoints.likelihood(name))


def test_movement_dataset_without_times_counts_frames(session):
    (session / "alf" / "_ibl_leftCamera.times.npy").unlink()
    export(session, "--format", "movement")
    dataset = xr.load_dataset(session / "ibl_dask" / "export" / "leftCamera-dlc.nc", engine="scipy")
    assert dataset.attrs["time_unit"] == "frames"
    assert np.array_equal(dataset.time, np.arange(150))


def test_the_analysis_file_of_sleap_has_its_arrays_axes_and_texts(session):
    keypoints = write_poses(session, "left")
    result = export(session, "--format", "sleap")
    assert result.exit_code == 0, result.output
    with h5py.File(session / "ibl_dask" / "export" / f"{STEM}.analysis.h5") as file:
        assert json.loads(file["tracks"].attrs["dims"]) == ["track", "xy", "node", "frame"]
        names = [name.decode() for name in file["node_names"]]
        assert names == list(keypoints.names)
        assert [name.decode() for name in file["track_names"]] == ["mouse"]
        n = len(keypoints)
        assert file["tracks"].shape == (1, 2, len(names), n)
        for node, name in enumerate(names):
            assert np.array_equal(file["tracks"][0, :, node].T, keypoints.of(name), equal_nan=True)
            assert np.array_equal(file["point_scores"][0, node], keypoints.likelihood(name))
        seen = np.isfinite(keypoints.values[:, :, :2]).any(axis=(1, 2))
        assert np.array_equal(file["track_occupancy"][:, 0], seen)
        assert np.isnan(file["instance_scores"][:]).all()
        assert file["instance_scores"].shape == file["tracking_scores"].shape == (1, n)


@pytest.fixture
def nwb_libraries():
    """Skip where the libraries of NWB are missing; their imports warn of each other."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ndx_pose
        import nwbinspector
        import pynwb
    return pynwb, ndx_pose, nwbinspector


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
def test_nwb_of_all_cameras_is_read_by_pynwb_and_passes_the_inspector(session, nwb_libraries):
    pynwb, _, nwbinspector = nwb_libraries
    written = {
        "PoseEstimationLeftCameraDeepLabCut": ("left", write_poses(session, "left")),
        "PoseEstimationLeftCameraLightningPose": ("left", write_poses(session, "left", "lightningPose", seed=2)),
        "PoseEstimationRightCameraDeepLabCut": ("right", write_poses(session, "right", n_frames=90, seed=3)),
    }
    video = session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    video.parent.mkdir()
    video.write_bytes(b"frames")
    task = session / "raw_task_data_00"
    task.mkdir()
    (task / "_iblrig_taskSettings.raw.json").write_text(json.dumps({"SESSION_START_TIME": "2023-05-01T10:11:12"}))
    result = export(session, "--format", "nwb")
    assert result.exit_code == 0, result.output
    path = session / "ibl_dask" / "export" / "SW_001_2023-05-01_001_pose.nwb"
    assert not pynwb.validate(path=str(path))
    critical = nwbinspector.Importance.CRITICAL
    assert not list(nwbinspector.inspect_nwbfile(nwbfile_path=path, importance_threshold=critical))
    with pynwb.NWBHDF5IO(path, "r") as file:
        content = file.read()
        assert content.session_start_time.isoformat() == "2023-05-01T10:11:12+00:00"
        assert content.subject.subject_id == "SW_001"
        behavior = content.processing["behavior"]
        for name, (label, keypoints) in written.items():
            pose = behavior[name]
            assert list(pose.skeleton.nodes[:]) == list(keypoints.names)
            times = np.load(session / "alf" / f"_ibl_{label}Camera.times.npy")
            for point in keypoints.names:
                series = pose[point]
                assert np.array_equal(series.data[:], keypoints.of(point), equal_nan=True)
                assert np.array_equal(series.confidence[:], keypoints.likelihood(point))
                assert np.array_equal(series.timestamps[:], times)
        source = behavior["PoseEstimationLeftCameraDeepLabCut"].source_video
        assert (path.parent / source.external_file[0]).resolve() == video.resolve()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")
def test_camera_without_times_costs_nwb_that_camera_alone(session, nwb_libraries):
    pynwb = nwb_libraries[0]
    write_poses(session, "right", with_times=False)
    result = export(session, "--format", "nwb")
    assert result.exit_code == 1
    assert "right camera" in result.output
    with pynwb.NWBHDF5IO(session / "ibl_dask" / "export" / "SW_001_2023-05-01_001_pose.nwb", "r") as file:
        assert "PoseEstimationLeftCameraDeepLabCut" in file.read().processing["behavior"].data_interfaces


def test_times_of_another_number_are_not_paired_with_keypoints(session):
    write_poses(session, "right")
    np.save(session / "alf" / "_ibl_leftCamera.times.npy", np.arange(149) / 60)
    result = export(session, "--format", "movement")
    assert result.exit_code == 1
    assert "149 times" in result.output
    assert [path.name for path in (session / "ibl_dask" / "export").iterdir()] == ["rightCamera-dlc.nc"]


def test_sessions_and_cameras_are_kept_apart_in_one_folder(session, tmp_path):
    other = session.parent / "002"
    write_poses(other, "left", seed=5)
    write_poses(other, "right", seed=6)
    (other / "alf" / "_ibl_rightCamera.dlc.pqt").write_bytes(b"PAR1 damaged")
    result = export(session.parent, "--format", "csv", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "_ibl_rightCamera.dlc.pqt" in result.output
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert found == [f"SW_001/2023-05-01/{number}/{STEM}.csv" for number in ("001", "002")]
    assert not (session / "ibl_dask").exists()


def test_a_format_that_does_not_exist_and_a_camera_without_keypoints_are_named(session):
    with pytest.raises(ValueError, match="movement"):
        CliRunner().invoke(app, ["export", str(session), "--format", "films"], catch_exceptions=False)
    result = export(session, "--format", "csv", "--cameras", "left,body")
    assert result.exit_code == 1
    assert "body" in result.output


@pytest.mark.parametrize(
    ("form", "package", "extra"), [("dlc", "tables", "export"), ("sleap", "h5py", "export"), ("nwb", "pynwb", "nwb")]
)
def test_a_missing_package_is_named_with_its_extra_and_leaves_no_file(session, monkeypatch, form, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    result = export(session, "--format", form)
    assert result.exit_code == 1
    assert f"ibl_dask[{extra}]" in result.output
    assert not [path for path in (session / "ibl_dask").rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_made_is_named(session, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = export(session, "--format", "csv", "--out", tmp_path / "file")
    assert result.exit_code == 1
    assert str(tmp_path / "file") in result.output.replace("\n", "")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.movement
def test_movement_reads_all_formats_and_computes_with_them(session):
    keypoints = write_poses(session, "left")
    for form in ("movement", "dlc", "sleap", "nwb"):
        assert export(session, "--format", form).exit_code == 0
    program = Path(__file__).parents[1] / "helpers" / "read_with_movement.py"
    env = {**os.environ, "HOME": str(session)}  # it writes a log into the home folder
    folder = session / "ibl_dask" / "export"
    np.save(session / "values.npy", keypoints.values)
    np.save(session / "times.npy", np.load(session / "alf" / "_ibl_leftCamera.times.npy"))
    command = [MOVEMENT, str(program), str(folder), str(session)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == dict.fromkeys(("netcdf", "h5", "csv", "nwb", "sleap", "sleap-io"), True)
