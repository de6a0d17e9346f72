"""Ensembles smoothed over a video: real predictions of five networks, and the library on the same series."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ibl_dask.errors import MissingEnvironment, UsageError
from ibl_dask.model.region import Region
from ibl_dask.pose.geometry import PictureMap
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.prediction_csv import keypoints_from_csv
from ibl_dask.pose.smoothers.ensemble_kalman import COLUMNS, in_frame, smooth_ensemble
from ibl_dask.pose.smoothers.ensemble_kalman_adapter import SmootherError, block_of_each
from ibl_dask.pose.smoothers.rules import IBL_PAWS, IBL_PUPIL, EnsembleSmoothing

PROGRAM = Path(__file__).parents[1] / "helpers" / "eks_library.py"
ALL = ("x", "y", "likelihood", *COLUMNS)
EXCHANGED = {"pupil_bottom_r": "pupil_right_r", "pupil_right_r": "pupil_bottom_r"}
"""Headings of the library's table of a pupil that stand over the columns of the other point."""


@pytest.fixture(scope="module")
def tables(data_folder):
    paths = sorted((data_folder / "pose").glob("*.csv"))
    assert len(paths) == 5
    return paths


@pytest.fixture(scope="module")
def members(tables):
    return [keypoints_from_csv(path.read_text()) for path in tables]


@pytest.fixture(scope="module")
def library(lightning_pose_python, tables, tmp_path_factory):
    """Return what the library writes for the whole series: model -> column -> values."""
    out = tmp_path_factory.mktemp("eks") / "smoothed.npz"
    subprocess.run([lightning_pose_python, str(PROGRAM), str(out), *map(str, tables)], check=True, timeout=1500)
    content = np.load(out)
    return {
        model: dict(zip(content[f"{model}_columns"].tolist(), content[model].T, strict=True))
        for model in ("pupil", "points")
    }


@pytest.fixture(scope="module")
def pupil(members, lightning_pose_python):
    return smooth_ensemble(members, IBL_PUPIL, 60.0, lightning_pose_python)


@pytest.mark.recordings
def test_a_pupil_is_that_of_the_library_under_the_names_of_its_points(library, pupil, members):
    columns = pupil.keypoints.columns()
    assert list(columns) == [f"{name}_{part}" for name in members[0].names for part in ALL]
    for name in members[0].names:
        heading = EXCHANGED.get(name, name)
        for part in ("x", "y", *COLUMNS[:4]):
            np.testing.assert_array_equal(columns[f"{name}_{part}"], library["pupil"][f"{heading}_{part}"])
        np.testing.assert_allclose(
            columns[f"{name}_likelihood"], library["pupil"][f"{name}_likelihood"], rtol=0, atol=1e-6
        )
    assert pupil.build.startswith("ensemble-kalman-smoother 4.6.2")


@pytest.mark.recordings
def test_the_library_exchanges_two_points_and_this_table_does_not(library, pupil):
    """The bottom of a pupil is below its top, and its right is to the right of its left."""
    columns = pupil.keypoints.columns()
    assert np.all(columns["pupil_bottom_r_y"] > columns["pupil_right_r_y"])
    assert np.all(columns["pupil_right_r_x"] > columns["pupil_bottom_r_x"])
    assert np.all(library["pupil"]["pupil_bottom_r_y"] < library["pupil"]["pupil_right_r_y"])


@pytest.mark.recordings
def test_posterior_variances_are_those_of_their_coordinate(library, pupil):
    """The library's nth column is the nth coordinate of top, bottom, right and left, whatever its heading."""
    columns, theirs = pupil.keypoints.columns(), library["pupil"]
    ours = [columns[f"pupil_{name}_r_{axis}_posterior_var"] for name in ("top", "bottom", "right") for axis in "xy"]
    headings = ("pupil_top_r", "pupil_bottom_r", "pupil_right_r", "pupil_left_r")
    for number, heading in enumerate(headings):
        np.testing.assert_allclose(ours[number], theirs[f"{heading}_x_posterior_var"], rtol=1e-5)
        np.testing.assert_allclose(ours[number + 1], theirs[f"{heading}_y_posterior_var"], rtol=1e-5)
    centre = [columns[f"pupil_{name}_posterior_var"] for name in ("right_r_y", "left_r_y")]
    np.testing.assert_array_equal(*centre)


@pytest.mark.recordings
def test_points_that_move_by_themselves_are_those_of_the_library(library, members, lightning_pose_python):
    rule = replace(IBL_PAWS, inflation=100.0)
    columns = smooth_ensemble(members, rule, 150.0, lightning_pose_python).keypoints.columns()
    for name, values in columns.items():
        factor = 100.0 if name.endswith("_posterior_var") else 1.0
        np.testing.assert_allclose(values, factor * library["points"][name], rtol=1e-6)


@pytest.mark.recordings
def test_frames_without_a_prediction_keep_their_place_and_change_no_other_frame_much(
    members, pupil, lightning_pose_python
):
    lost = [0, 700, 701, 1999]
    for_members = []
    for member in members:
        values = member.values.copy()
        values[lost, :, :2], values[lost, :, 2] = np.nan, 0
        for_members.append(replace(member, values=values))
    found = smooth_ensemble(for_members, IBL_PUPIL, 60.0, lightning_pose_python).keypoints
    is_kept = ~np.isin(np.arange(len(found)), lost)
    assert np.isnan(found.values[lost, :, :2]).all()
    assert (found.values[lost, :, 2] == 0).all()
    assert all(np.isnan(found.further[f"{name}_x_posterior_var"][lost]).all() for name in found.names)
    assert np.isfinite(found.values[is_kept]).all()
    assert np.abs(found.values[is_kept] - pupil.keypoints.values[is_kept])[..., :2].max() < 0.5


@pytest.mark.recordings
def test_other_points_are_no_pupil(members, lightning_pose_python):
    renamed = [replace(member, names=("a", "b", "c", "d")) for member in members]
    with pytest.raises(UsageError, match="not the points of a pupil"):
        smooth_ensemble(renamed, IBL_PUPIL, 60.0, lightning_pose_python)


def one(n_frames=6, names=("paw_l",)) -> Keypoints:
    return Keypoints(names, np.random.default_rng(0).random((n_frames, len(names), 3)))


@pytest.mark.parametrize(("python", "got"), [(sys.executable, "eks"), ("/nowhere/python", "No such file")])
def test_an_environment_without_the_smoother_is_named_with_the_way_to_make_it(python, got):
    with pytest.raises(MissingEnvironment) as caught:
        smooth_ensemble([one(), one()], EnsembleSmoothing("keypoints"), 60.0, python)
    error = caught.value
    assert (error.category, error.where) == ("environment", python)
    assert got in error.got + error.what
    assert re.search(r"ensemble-kalman-smoother.*smoother:", error.do)


def test_videos_of_training_rigs_are_smoothed_less():
    found = {rate_hz: IBL_PAWS.parameters(rate_hz)["s"] for rate_hz in (24.9, 25.0, 30.0, 35.0, 60.0, 150.0)}
    assert found == {24.9: 10.0, 25.0: 100.0, 30.0: 100.0, 35.0: 100.0, 60.0: 10.0, 150.0: 10.0}
    assert IBL_PUPIL.parameters(30.0)["s"] == IBL_PUPIL.parameters(60.0)["s"]


def test_places_of_pictures_are_put_back_and_variances_follow_the_size_of_a_pixel():
    """A picture of a quarter of the pixels along y and half of them along x, mirrored."""
    pictures = PictureMap(Region(40, 80, 100, 180), flip=True, size=(10, 40))
    further = {f"paw_l_{name}": np.full(3, 2.0) for name in COLUMNS}
    found = in_frame(Keypoints(("paw_l",), np.full((3, 1, 3), 2.0), further), pictures)
    x, y = pictures.to_frame(np.array([2.0, 2.0]))
    assert x > 170
    np.testing.assert_allclose(found.values[0, 0], [x, y, 2.0])
    columns = {name.removeprefix("paw_l_"): float(values[0]) for name, values in found.further.items()}
    assert columns == pytest.approx(
        {
            "x_ens_median": x,
            "y_ens_median": y,
            "x_ens_var": 8.0,
            "y_ens_var": 32.0,
            "x_posterior_var": 8.0,
            "y_posterior_var": 32.0,
        }
    )


def test_a_table_with_other_columns_is_refused():
    medians = np.arange(24.0).reshape(3, 4, 2)
    assert block_of_each(medians[:, [2, 0, 1, 3]], medians) == [1, 2, 0, 3]
    with pytest.raises(SmootherError, match="other columns"):
        block_of_each(medians + 5, medians)
