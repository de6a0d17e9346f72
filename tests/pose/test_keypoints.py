"""Tables of keypoints: columns, likelihood, ensembles and predictions as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pose_data import SIDE, predictions, side_camera

from ibl_dask.errors import InputError, MissingFile, MissingKeypoints, UnequalLengths, UnusableFile
from ibl_dask.pose.ensembles import merge_ensemble
from ibl_dask.pose.keypoints import LIKELY, Keypoints
from ibl_dask.pose.prediction_csv import keypoints_from_csv
from ibl_dask.store.tables import read_table, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

NAMES = st.lists(st.sampled_from(["nose_tip", "paw_l", "pupil_top_r", "x", "a_x", "y_likely"]), min_size=1, unique=True)


@st.composite
def tables(draw: st.DrawFn) -> Keypoints:
    names = tuple(draw(NAMES))
    shape = (draw(st.integers(0, 12)), len(names), 3)
    kind = draw(st.sampled_from([np.float32, np.float64]))
    values = draw(arrays(kind, shape, elements=st.floats(0, 1, width=32) | st.just(float("nan"))))
    return Keypoints(names, values)


@given(tables())
def test_a_table_is_the_same_after_writing_and_reading(table: Keypoints) -> None:
    back = Keypoints.from_columns(table.columns())
    assert back.names == table.names
    assert back.values.dtype == table.values.dtype
    np.testing.assert_array_equal(back.values, table.values)


@given(tables(), st.floats(0, 1))
def test_points_below_the_likelihood_are_nan_and_all_others_untouched(table: Keypoints, least: float) -> None:
    likely = table.likely(least)
    kept = table.values[:, :, 2] >= least
    np.testing.assert_array_equal(likely.values[kept], table.values[kept])
    assert np.isnan(likely.values[~kept][:, :2]).all()
    np.testing.assert_array_equal(likely.values[:, :, 2], table.values[:, :, 2])


def test_a_file_keeps_every_row_and_column_in_order(tmp_path: Path) -> None:
    table = merge_ensemble([side_camera(50, seed) for seed in range(3)])
    path = tmp_path / "alf" / "_ibl_leftCamera.lightningPose.pqt"
    write_table(path, table.columns())
    columns = read_table(path)
    assert list(columns)[:9] == [
        *("nose_tip_x", "nose_tip_y", "nose_tip_likelihood"),
        *("nose_tip_x_ens_median", "nose_tip_y_ens_median", "nose_tip_x_ens_var", "nose_tip_y_ens_var"),
        *("pupil_top_r_x", "pupil_top_r_y"),
    ]
    back = Keypoints.from_columns(columns)
    np.testing.assert_array_equal(back.values, table.values)
    assert back.further.keys() == table.further.keys()
    first = path.read_bytes()
    write_table(path, table.columns())
    assert path.read_bytes() == first
    assert list(read_table(path, ["paw_l_x"])) == ["paw_l_x"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"nothing of the kind" * 10])
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "_ibl_leftCamera.dlc.pqt"
    path.write_bytes(content)
    with pytest.raises(UnusableFile, match=r"leftCamera\.dlc"):
        read_table(path)
    with pytest.raises(MissingFile):
        read_table(tmp_path / "none.pqt")


def test_a_table_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "_ibl_leftCamera.dlc.pqt"
    write_table(path, side_camera(200).columns())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnusableFile):
        read_table(path)


@pytest.mark.parametrize(
    ("drop", "add"),
    [("paw_l_y", {}), ("paw_l_likelihood", {}), ("", {"paw_l_x": np.array(["a", "b"])}), ("all", {})],
)
def test_a_table_without_all_three_columns_of_a_point_is_refused(drop: str, add: dict[str, NDArray]) -> None:
    columns = {f"paw_l_{part}": np.zeros(2) for part in ("x", "y", "likelihood")} | add
    columns = {} if drop == "all" else {name: column for name, column in columns.items() if name != drop}
    with pytest.raises(UnusableFile, match="keypoints"):
        Keypoints.from_columns(columns, "a file")


def test_columns_of_other_lengths_and_other_shapes_are_refused() -> None:
    with pytest.raises(UnequalLengths):
        Keypoints.from_columns({"a_x": np.zeros(2), "a_y": np.zeros(3), "a_likelihood": np.zeros(2)})
    with pytest.raises(UnequalLengths):
        Keypoints(("a",), np.zeros((2, 2, 3)))
    with pytest.raises(UnequalLengths):
        Keypoints(("a",), np.zeros((2, 1, 3)), {"a_x_ens_var": np.zeros(3)})
    with pytest.raises(MissingKeypoints, match="paw_l"):
        Keypoints(("a",), np.zeros((2, 1, 3))).of("paw_l")


@settings(max_examples=25)
@given(st.integers(1, 5), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_an_ensemble_is_median_and_variance_of_its_members(n_members: int, n_frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(100, 20, (n_members, n_frames, 2, 3))
    values[rng.random(values.shape) < 0.1] = np.nan
    members = [Keypoints(("a", "b"), each) for each in values]
    merged = merge_ensemble(members)
    if n_members == 1:
        assert merged.further == {}
        np.testing.assert_array_equal(merged.values, values[0])
        return
    for i, name in enumerate("ab"):
        for j, axis in enumerate("xy"):
            for row in range(n_frames):
                known = values[:, row, i, j][~np.isnan(values[:, row, i, j])]
                expected = (np.median(known), np.var(known)) if known.size else (np.nan, np.nan)
                found = merged.further[f"{name}_{axis}_ens_median"][row], merged.further[f"{name}_{axis}_ens_var"][row]
                np.testing.assert_allclose(found, expected)
                np.testing.assert_allclose(merged.values[row, i, j], expected[0])


def test_members_of_other_videos_are_no_ensemble() -> None:
    one = side_camera(10)
    for other in (side_camera(11), Keypoints(("a",), np.zeros((10, 1, 3)))):
        with pytest.raises(UnequalLengths, match="member 2"):
            merge_ensemble([one, other])
    with pytest.raises(UnequalLengths):
        merge_ensemble([])


@pytest.mark.recordings
def test_the_median_of_real_members_is_closer_to_them_than_they_to_one_another() -> None:
    members = [predictions(seed) for seed in range(5)]
    merged = merge_ensemble(members)
    assert len(merged) == 2000
    assert set(merged.names) == {"pupil_top_r", "pupil_right_r", "pupil_bottom_r", "pupil_left_r"}
    to_median = np.mean([np.abs(m.values[:, :, :2] - merged.values[:, :, :2]).mean() for m in members])
    to_first = np.mean([np.abs(m.values[:, :, :2] - members[0].values[:, :, :2]).mean() for m in members[1:]])
    assert 0 < to_median < to_first


HEADER = "scorer,net,net,net\nbodyparts,a,a,a\ncoords,x,y,likelihood\n"


def test_predictions_as_csv_are_read_as_written() -> None:
    table = keypoints_from_csv(HEADER + "0,1.5,2,0.25\n1,3,nan,1e-3\n")
    np.testing.assert_array_equal(table.values[:, 0], [[1.5, 2, 0.25], [3, np.nan, 1e-3]])


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER.replace("bodyparts", "individuals") + "0,1,2,3\n",
        HEADER + "0,1,2,3\n2,1,2,3\n",
        HEADER + "1,1,2,3\n",
        HEADER + "0,1,2\n",
        HEADER + "0,1,2,three\n",
    ],
)
def test_predictions_whose_rows_may_belong_to_other_frames_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"expected|Expected"):
        keypoints_from_csv(text, "predictions.csv")


def test_the_limit_of_likelihood_is_that_of_the_field() -> None:
    assert LIKELY == 0.9
    assert len(SIDE) == 11
