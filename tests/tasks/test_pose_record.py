"""Checks of keypoints stay in `qc.json` when cameras are checked anew, and are in the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pose_data import side_camera

from ibl_dask.pipeline.run import run
from ibl_dask.qc.pose import run_pose_checks
from ibl_dask.qc.pose_evidence import PoseEvidence
from ibl_dask.qc.record import pose_record, session_record


def test_checks_of_keypoints_outlive_those_of_cameras_and_are_in_the_report(session_folder: Path) -> None:
    keypoints = side_camera(300)
    keypoints.values[:, :, 0] += 400
    evidence = PoseEvidence("left", "dlc", keypoints.likely(), np.arange(300) / 60)
    pose = {"dlcLeft": pose_record(run_pose_checks(evidence), "dlc")}
    record = session_folder / "ibl_dask" / "qc.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(session_record("SW_001/2023-05-01/001", {}, pose)))
    figure = session_folder / "snapshot" / "dlc_qc_plot.png"
    figure.parent.mkdir()
    figure.write_bytes(b"\x89PNG")
    assert run([session_folder], cameras=["left"]).exit_code == 0
    content = json.loads(record.read_text())
    assert content["pose"] == json.loads(json.dumps(pose))
    assert content["outcome"] == "FAIL"
    assert content["extended_qc"]["_dlcLeft_mean_in_bbox"] == "FAIL"
    assert {"videoLeft", "dlcLeft"} <= content["extended_qc"].keys()
    page = (session_folder / "ibl_dask" / "report.html").read_text()
    assert "<code>dlc mean_in_bbox</code>" in page
    assert "data:image/png;base64,iVBORw==" in page
