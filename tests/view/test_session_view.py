"""Cameras of the viewer: in step where they have times, and never in a wrong step where they do not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from posed_sessions import RELATIVE, write_poses
from viewed_sessions import workspace_of

from ibl_dask.errors import AlreadyThere, MissingFile, UsageError
from ibl_dask.view import page
from ibl_dask.view.content import ViewCamera
from ibl_dask.view.folder import write_view
from ibl_dask.view.places import lost_stretches
from ibl_dask.view.session_view import SessionView, frames_between


@pytest.fixture
def copied(seen_session: Path, tmp_path: Path) -> Path:
    folder = tmp_path / RELATIVE
    shutil.copytree(seen_session, folder)
    return folder


def camera(view: SessionView, label: str) -> ViewCamera:
    return view.camera(label)


def test_frames_of_a_range_begin_with_the_one_that_is_shown_at_its_start(view: SessionView) -> None:
    times = camera(view, "left").times_s
    between = float(times[10] + times[11]) / 2
    assert frames_between(camera(view, "left"), between, float(times[20])) == (10, 20)
    assert frames_between(camera(view, "left"), float(times[0]) - 9, float(times[0]) - 8) == (0, 0)
    last = len(times) - 1
    assert frames_between(camera(view, "left"), float(times[-1]) + 8, float(times[-1]) + 9) == (last, last)


@pytest.mark.parametrize("damage", ["absent", "short", "backwards", "nan", "no numbers"])
def test_a_camera_without_usable_times_is_shown_as_not_in_step(copied: Path, damage: str) -> None:
    path = copied / "alf" / "_ibl_leftCamera.times.npy"
    times = np.load(path)
    if damage == "absent":
        path.unlink()
    elif damage == "no numbers":
        path.write_bytes(b"garbage")
    else:
        bad = {"short": times[:-3], "backwards": times[::-1], "nan": np.where(times == times[5], np.nan, times)}
        np.save(path, bad[damage])
    view = SessionView(workspace_of(copied))
    left, right = view.camera("left"), view.camera("right")
    assert not left.is_timed
    assert left.remark
    assert right.is_timed
    assert right.remark == ""
    assert len(left.times_s) == left.n_frames == len(left.index())
    assert all(track.camera != "left" or track.kind != "points" for track in view.tracks)
    view.close()


def test_keypoints_of_another_number_of_frames_are_named_and_not_shown(copied: Path) -> None:
    for path in (copied / "alf").glob("_ibl_leftCamera.dlc*"):
        path.unlink()
    write_poses(copied, "left", n_frames=50, with_times=False)
    view = SessionView(workspace_of(copied))
    assert view.keypoints == {}
    assert any("keypoints and frames differ in number" in remark for remark in view.later_remarks)
    assert not any(track.name == "left likelihood" for track in view.tracks)
    view.close()


@pytest.mark.parametrize("stored", ["table", "arrays"])
def test_trials_are_tracks_of_their_moments(copied: Path, stored: str) -> None:
    columns = {
        "stimOn_times": np.array([0.5, 1.25, 2.0, np.nan]),
        "feedback_times": np.array([0.9, 1.75, 2.5, 3.1]),
        "feedbackType": np.array([1.0, -1.0, 1.0, -1.0]),
    }
    if stored == "table":
        pd.DataFrame(columns).to_parquet(copied / "alf" / "_ibl_trials.table.pqt")
    else:
        for name, values in columns.items():
            np.save(copied / "alf" / f"_ibl_trials.{name}.npy", values)
    view = SessionView(workspace_of(copied))
    moments = {track.name: track.times_s.tolist() for track in view.tracks}
    view.close()
    assert moments["stimulus on"] == [0.5, 1.25, 2.0]
    assert moments["reward"] == [0.9, 2.5]
    assert moments["error"] == [1.75, 3.1]


def test_a_damaged_table_of_trials_costs_their_own_tracks_alone(copied: Path) -> None:
    (copied / "alf" / "_ibl_trials.table.pqt").write_bytes(b"garbage")
    view = SessionView(workspace_of(copied))
    names = {track.name for track in view.tracks}
    assert "stimulus on" not in names
    assert {"wheel", "left likelihood"} <= names
    assert any(remark.startswith("trials") for remark in view.later_remarks)
    view.close()


def test_damaged_results_cost_their_own_part_alone(copied: Path) -> None:
    (copied / "ibl_dask" / "qc.json").write_text("{")
    (copied / "alf" / "_ibl_wheel.position.npy").write_bytes(b"garbage")
    view = SessionView(workspace_of(copied))
    assert "left likelihood" in {track.name for track in view.tracks}
    assert any("record of checks is damaged" in remark for remark in view.later_remarks)
    assert any(remark.startswith("wheel") for remark in view.later_remarks)
    assert len(list(view.pictures("left").jpegs(0, 3))) == 4
    view.close()


def test_a_video_that_cannot_be_read_leaves_the_other_cameras(copied: Path) -> None:
    next((copied / "raw_video_data").glob("*bodyCamera.raw.*")).write_bytes(b"no video")
    view = SessionView(workspace_of(copied))
    assert [each.label for each in view.cameras] == ["left", "right"]
    assert any(remark.startswith("body") for remark in view.remarks)
    view.close()


def test_a_session_without_videos_is_an_error_with_advice(copied: Path) -> None:
    shutil.rmtree(copied / "raw_video_data")
    with pytest.raises(MissingFile, match=r"no video that can be shown.*What to do"):
        SessionView(workspace_of(copied))


def test_places_begin_with_failing_checks_and_hold_lost_stretches(copied: Path) -> None:
    for path in (copied / "alf").glob("_ibl_leftCamera.dlc*"):
        path.unlink()
    from ibl_dask.store.tables import write_table

    n = len(np.load(copied / "alf" / "_ibl_leftCamera.times.npy"))
    keypoints = write_poses(copied, "left", n_frames=n, with_times=False)
    keypoints.values[:, :, 2] = 0.99
    keypoints.values[100:120, :, 2] = 0.1
    write_table(copied / "alf" / "_ibl_leftCamera.dlc.pqt", keypoints.columns())
    view = SessionView(workspace_of(copied))
    lost = [jump.frame for jump in view.jumps if jump.kind == "likelihood"]
    assert lost == [100]
    assert {"frame_intervals", "dropped_frames"} <= {jump.title for jump in view.jumps if jump.camera == "left"}
    view.close()


def test_stretches_are_whole_runs_longest_first() -> None:
    is_lost = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1], bool)
    assert lost_stretches(is_lost) == [(3, 6), (0, 2), (8, 9)]
    assert lost_stretches(np.zeros(4, bool)) == []


def test_no_text_of_a_session_ends_the_script_of_the_page() -> None:
    assert "</script" not in page.as_script({"name": "</script><script>alert(1)</script>"})


@pytest.mark.parametrize(("start", "stop"), [(3.0, 2.0), (900.0, 901.0), (-9.0, -8.0), (2.0, 2.0)])
def test_a_range_that_shows_nothing_is_refused_and_nothing_is_written(
    view: SessionView, tmp_path: Path, start: float, stop: float
) -> None:
    with pytest.raises(UsageError, match="this range of time shows nothing"):
        write_view(view, tmp_path / "out", start, stop)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_stays_as_it_is(view: SessionView, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="this folder holds files"):
        write_view(view, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_files_that_come_meanwhile_stay_as_they_are(
    view: SessionView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render_page(*_: object) -> str:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("mine")
        return ""

    monkeypatch.setattr(page, "render_page", render_page)
    with pytest.raises(AlreadyThere, match="stays as it is"):
        write_view(view, tmp_path / "out", 1.0, 1.2)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_to_an_empty_folder_is_written_through(view: SessionView, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    write_view(view, tmp_path / "out", 1.0, 1.2)
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "elsewhere" / "index.html").is_file()


def test_a_video_that_changes_meanwhile_leaves_no_half_folder(copied: Path, tmp_path: Path) -> None:
    view = SessionView(workspace_of(copied))
    assert all(view.pictures("right").jpegs(0, 3))
    with next((copied / "raw_video_data").glob("*rightCamera.raw.*")).open("ab") as file:
        file.write(b"more")
    with pytest.raises(Exception, match="changed since it was indexed"):
        write_view(view, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    view.close()
