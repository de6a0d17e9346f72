"""Frames to label: exactly those frames, in the layouts of Lightning Pose and DeepLabCut."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from disc_sessions import write_discs
from pose_data import side_camera
from typer.testing import CliRunner

from ibl_dask.cli.app import app
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.store.tables import write_table
from ibl_dask.video.colour import rgb_frames
from ibl_dask.video.container.index import index_video

SESSION = Path("Subjects") / "SW_001" / "2023-05-01" / "001"
NAME = "SW_001_2023-05-01_001_leftCamera"
WORST = (0, 37, 38, 90, 119)
N_FRAMES = 120


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled") / SESSION
    write_discs(folder, ("left",))
    values = np.ones((N_FRAMES, 2, 3))
    values[list(WORST), 1, 2] = 0.1
    write_table(folder / "alf" / "_ibl_leftCamera.dlc.pqt", Keypoints(("nose_tip", "paw_l"), values).columns())
    return folder


@pytest.fixture
def session(template, tmp_path):
    folder = tmp_path / SESSION
    shutil.copytree(template, folder)
    return folder


def label(folder, *words):
    options = ["label", "--reason", "paw is lost", "--by", "Ada", "--scorer", "ada"]
    return CliRunner().invoke(app, ["verdict", str(folder), "left", *options, *words])


def pictures(folder):
    return {path.name: cv2.imread(str(path))[:, :, ::-1] for path in sorted(folder.glob("*.png"))}


def test_pictures_are_the_frames_of_their_numbers_with_neighbours_for_networks_in_context(session):
    result = label(session, "--out", session.parent / "to_label", "--frames", "30")
    assert result.exit_code == 0, result.output
    folder = session.parent / "to_label"
    video = session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    frames = dict(rgb_frames(video, index_video(video), 0, N_FRAMES))
    names = {number: f"img{number:08d}.png" for number in range(N_FRAMES)}
    dlc = pictures(folder / "deeplabcut" / "labeled-data" / NAME)
    assert list(dlc) == [names[number] for number in WORST]
    lp = pictures(folder / "lightning_pose" / "labeled-data" / NAME)
    around = sorted({n + d for n in WORST for d in range(-2, 3) if 0 <= n + d < N_FRAMES})
    assert list(lp) == [names[number] for number in around]
    for found in (dlc, lp):
        for number in map(int, (name[3:-4] for name in found)):
            assert np.array_equal(found[names[number]], frames[number]), number


def test_tables_of_labels_are_empty_and_read_as_both_programs_read_them(session):
    label(session, "--out", session.parent / "to_label", "--frames", "30")
    folder = session.parent / "to_label"
    text = (folder / "lightning_pose" / "CollectedData.csv").read_text()
    rows = list(csv.reader(text.splitlines()))
    assert [row[0] for row in rows[:3]] == ["scorer", "bodyparts", "coords"]
    # As a person would fill them in, since pandas takes an empty first row for names of the index.
    filled = text.replace(",,,", ",1,2,3").replace("3,\n", "3,4\n")
    (folder / "filled.csv").write_text(filled)
    table = pd.read_csv(folder / "filled.csv", header=[0, 1, 2], index_col=0)
    assert list(table.columns) == [("ada", point, axis) for point in ("nose_tip", "paw_l") for axis in "xy"]
    assert all((folder / "lightning_pose" / path).is_file() for path in table.index)
    assert len(table) == len(WORST)
    labels = pd.read_hdf(folder / "deeplabcut" / "labeled-data" / NAME / "CollectedData_ada.h5")
    assert labels.index.to_list() == [("labeled-data", NAME, f"img{n:08d}.png") for n in WORST]
    assert labels.columns.equals(table.columns)
    assert labels.isna().all(axis=None)
    lines = (folder / "deeplabcut" / "labeled-data" / NAME / "CollectedData_ada.csv").read_text().splitlines()
    assert lines[3] == f"labeled-data,{NAME},img00000000.png,,,,"
    listed = pd.read_csv(folder / "frames.csv")
    assert listed.frame.tolist() == list(WORST)
    assert set(listed.worst_keypoint) == {"paw_l"}


def test_the_wish_for_labels_is_a_verdict_and_each_folder_is_new(session):
    first, second = label(session, "--frames", "2"), label(session, "--out", session.parent / "x", "--frames", "2")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert len(list((session / "ibl_dask" / "labels").glob("leftCamera-dlc_*"))) == 1
    (session.parent / "x" / "mine.txt").write_text("labels")
    again = label(session, "--out", session.parent / "x")
    assert again.exit_code != 0
    assert (session.parent / "x" / "mine.txt").read_text() == "labels"
    printed = CliRunner().invoke(app, ["verdict", str(session)]).output
    assert printed.count("label, by Ada") == 2


def test_keypoints_of_another_number_of_frames_give_no_pictures(session):
    write_table(session / "alf" / "_ibl_leftCamera.dlc.pqt", side_camera(N_FRAMES - 1).columns())
    result = label(session)
    assert result.exit_code != 0
    assert "119 rows" in str(result.exception)
    assert not (session / "ibl_dask").exists() or not list((session / "ibl_dask").rglob("*.png"))


def test_the_name_of_the_person_stays_a_name(session):
    result = CliRunner().invoke(app, ["verdict", str(session), "left", "label", "--reason", "x", "--scorer", "../../x"])
    assert result.exit_code != 0
    assert not (session / "ibl_dask" / "labels").exists()
