"""Checks of keypoints where people read checks: table, matrix and page of a session."""

from __future__ import annotations

import html
from dataclasses import replace

import numpy as np
import pytest
from pose_data import side_camera
from rich.console import Console

from ibl_dask.model.outcome import CheckResult, Outcome
from ibl_dask.qc.pose import run_pose_checks
from ibl_dask.qc.pose_evidence import PoseEvidence
from ibl_dask.qc.record import camera_record, pose_record, session_record
from ibl_dask.report.check_rows import outcome_with_keypoints, read_pose_rows, split_namespace
from ibl_dask.report.content import CameraContent, SessionContent
from ibl_dask.report.html import render_session
from ibl_dask.report.qc_matrix import CheckedSession, failing_checks, qc_matrix
from ibl_dask.report.terminal import qc_table

GOOD = camera_record([CheckResult("focus", Outcome.PASS)])


def content(shift_px: float = 0.0) -> dict:
    """Return `qc.json` of a session whose left camera passes, and whose keypoints lie where they do, or beside."""
    keypoints = side_camera(300)
    keypoints.values[:, :, 0] += shift_px
    evidence = PoseEvidence("left", "lightningPose", keypoints.likely(), np.arange(300) / 60)
    pose = {"lightningPoseLeft": pose_record(run_pose_checks(evidence), "lightningPose")}
    return dict(session_record("SW_001/2024-01-01/001", {"left": GOOD}, pose))


def printed(what: object) -> str:
    console = Console(width=200, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


def test_the_table_of_a_session_has_the_checks_of_keypoints_by_their_tracker() -> None:
    text = printed(qc_table(content(400)))
    row = next(line for line in text.splitlines() if "mean_in_bbox" in line)
    assert "lightningPose mean_in_bbox" in row
    assert "FAIL" in row
    assert "left" in row
    assert len(read_pose_rows(content()["pose"])["left"]) == 4


def test_the_matrix_marks_a_camera_by_its_keypoints_and_names_the_check() -> None:
    good, bad = (CheckedSession(f"s{i}", f"/s/{i}", content(shift)) for i, shift in enumerate((0, 400)))
    assert good.marks() == {"left": "PASS"}
    assert bad.marks() == {"left": "FAIL"}
    assert bad.fails
    assert [check.check for check in failing_checks([good, bad])] == ["lightningPose mean_in_bbox"]
    table, _ = qc_matrix([good, bad], 120)
    assert "lightningPose mean_in_bbox" in printed(table)


def test_the_page_shows_checks_and_figure_of_keypoints() -> None:
    qc = content(400)
    camera = CameraContent(label="left", qc=qc["cameras"]["left"], pose=qc["pose"])
    session = SessionContent("SW_001/2024-01-01/001", "/s", "/s", qc["outcome"], (camera,))
    page = html.unescape(render_session(replace(session, pose_figures={"lp_qc_plot.png": b"\x89PNG"})))
    assert "<code>lightningPose mean_in_bbox</code>" in page
    assert "data:image/png;base64,iVBORw==" in page
    assert "data:image/png" not in render_session(session)


@pytest.mark.parametrize(
    ("camera", "keypoints", "expected"),
    [
        ("PASS", ["NOT_SET"], "PASS"),
        ("NOT_SET", ["PASS"], "NOT_SET"),
        ("PASS", ["PASS", "WARNING"], "WARNING"),
        ("CRITICAL", ["FAIL"], "CRITICAL"),
        ("PASS", [], "PASS"),
    ],
)
def test_keypoints_make_a_camera_worse_and_never_better(camera: str, keypoints: list[str], expected: str) -> None:
    assert outcome_with_keypoints({"outcome": camera}, [{"outcome": each} for each in keypoints]) == expected


def test_names_of_the_field_are_taken_apart() -> None:
    assert split_namespace("dlcBody") == ("dlc", "body")
    assert split_namespace("odd") == ("", "odd")
