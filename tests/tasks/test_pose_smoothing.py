"""Ensembles that are smoothed after their chunks were joined, from the command to the table."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from disc_sessions import CHUNK_PIXELS, NAMES, site, toy, write_discs

from ibl_dask.model.status import Status
from ibl_dask.pipeline.run import run
from ibl_dask.pose.keypoints import Keypoints
from ibl_dask.pose.networks import Network
from ibl_dask.pose.smoothers.ensemble_kalman import COLUMNS, smooth_ensemble
from ibl_dask.pose.smoothers.rules import EnsembleSmoothing
from ibl_dask.store.tables import read_table
from ibl_dask.tasks.pose.members import CameraNetworks

SESSION = Path("Subjects") / "SW_001" / "2023-05-01" / "001"
RULE = EnsembleSmoothing("keypoints", inflation=4.0)
MEMBERS = Network("whole", ("first", "second", "third"), smoothing=RULE)
ENGINES = (toy("first"), toy("second", threshold=40), toy("third", threshold=200, halo=1))


@pytest.fixture
def session(tmp_path):
    folder = tmp_path / SESSION
    write_discs(folder, ("left",))
    return folder


def pose(folder, *networks, engines=ENGINES, **more):
    options = site(*networks, engines=engines, estimator="lightning_pose", **more)
    (outcome,) = run(
        [folder], tasks=["LightningPose"], pose=["lightning_pose"], chunk_pixels=CHUNK_PIXELS, **options
    ).sessions
    return outcome


def table(folder):
    return read_table(folder / "alf" / "_ibl_leftCamera.lightningPose.pqt")


def members_of(folder):
    """Return the tables of the engines by themselves."""
    tables = []
    for engine in ENGINES:
        outcome = pose(folder, Network("whole", (engine.name,)))
        assert outcome.tasks["LightningPose"] is Status.COMPLETE, outcome.failures
        tables.append(Keypoints.from_columns(table(folder)))
        (folder / "alf" / "_ibl_leftCamera.lightningPose.pqt").unlink()
    return tables


@pytest.mark.lightning_pose
def test_a_smoothed_table_is_that_of_the_whole_series(session, lightning_pose_python):
    """Cut into chunks, joined and smoothed, it equals the smoother on the whole tables of the members."""
    expected = smooth_ensemble(members_of(session), RULE, 60.0, lightning_pose_python).keypoints
    outcome = pose(session, MEMBERS, smoother=lightning_pose_python)
    assert outcome.tasks["LightningPose"] is Status.COMPLETE, outcome.failures
    columns = table(session)
    assert list(columns) == [f"{name}_{part}" for name in NAMES for part in ("x", "y", "likelihood", *COLUMNS)]
    for name, values in expected.columns().items():
        np.testing.assert_array_equal(columns[name], values)
    assert np.abs(columns["nose_tip_x"] - columns["nose_tip_x_ens_median"]).max() > 1e-3
    record = json.loads((session / "ibl_dask" / "leftCamera-lightningPose.json").read_text())["networks"]["whole"]
    assert record["smoothing"]["build"].startswith("ensemble-kalman-smoother ")
    again = pose(session, MEMBERS, smoother=lightning_pose_python)
    assert not [record for record in again.records.values() if record.key.name.startswith("pose-")]


def test_without_its_environment_the_smoother_costs_no_keypoints(session):
    """Keypoints stay on disk: with the environment mended, nothing is estimated again."""
    outcome = pose(session, MEMBERS, smoother=sys.executable)
    assert outcome.tasks["LightningPose"] is Status.ERRORED
    (failure,) = outcome.failures
    assert failure.category == "environment"
    assert "ensemble-kalman-smoother" in failure.do
    assert not (session / "alf" / "_ibl_leftCamera.lightningPose.pqt").exists()
    mended = pose(session, replace(MEMBERS, smoothing=None))
    assert mended.tasks["LightningPose"] is Status.COMPLETE
    assert {r.status for r in mended.records.values() if r.key.name.split("-")[0] == "pose"} == {"kept"}


def test_other_parameters_make_other_columns_and_no_other_chunks():
    def fingerprints(network, smoother="python"):
        options = site(network, engines=ENGINES, estimator="lightning_pose", smoother=smoother)
        networks = CameraNetworks("left", options["networks"]["lightning_pose"], options["engines"])
        return networks.network_fingerprint(network), [member.fingerprint for member in networks.members]

    smoothed = fingerprints(MEMBERS)
    others = [replace(MEMBERS, smoothing=replace(RULE, s=5.0)), replace(MEMBERS, smoothing=None)]
    assert len({smoothed[0], *(fingerprints(other)[0] for other in others)}) == 3
    assert all(fingerprints(other)[1] == smoothed[1] for other in others)
    assert fingerprints(MEMBERS, "/another/place/python") == smoothed
    assert fingerprints(MEMBERS, "")[0] == fingerprints(replace(MEMBERS, smoothing=None))[0]
