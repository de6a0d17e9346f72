"""IBL's own pipelines on whole videos: the contract of iblvideo, by a fake of it, since its weights are not public."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from disc_sessions import site, write_discs

from ibl_dask.model.status import Status
from ibl_dask.pipeline.run import run
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.networks import Network
from ibl_dask.pose.weights_digest import weights_digest
from ibl_dask.store.tables import read_table

FAKE = Path(__file__).parents[1] / "helpers" / "fake_iblvideo"
SESSION = Path("Subjects") / "SW_001" / "2023-05-01" / "001"
TASKS = {"dlc": "DLC", "lightning_pose": "LightningPose"}
ATTRIBUTES = {"dlc": "dlc", "lightning_pose": "lightningPose"}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / SESSION
    write_discs(folder, ("left", "body"))
    return folder


@pytest.fixture
def session(template, tmp_path):
    shutil.copytree(template, tmp_path / SESSION)
    return tmp_path / SESSION


@pytest.fixture
def python(tmp_path):
    """Return a Python that imports the fake."""
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={FAKE} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def estimate(session, python, tmp_path):
    """Run an estimator with the fake, and return its outcome."""

    def call(estimator="dlc", fault=None, python=python, session=session, **options):
        weights = tmp_path / "weights"
        weights.mkdir(exist_ok=True)
        (weights / "rule.json").write_text(json.dumps({"fault": fault}))
        engine = EngineSettings("ibl", "iblvideo", str(python), weights, weights_digest(weights))
        networks = site(Network("all", ("ibl",)), estimator=estimator, engines=(engine,))
        (outcome,) = run([session], tasks=[TASKS[estimator]], pose=[estimator], **networks, **options).sessions
        assert (weights / "rule.json").read_text() == json.dumps({"fault": fault}), "the pinned weights were changed"
        return outcome

    return call


@pytest.mark.parametrize("estimator", TASKS)
def test_its_table_is_published_with_motion_energy_and_found_done(session, estimate, estimator):
    outcome = estimate(estimator)
    assert outcome.tasks[TASKS[estimator]] is Status.COMPLETE, outcome.failures
    paths = {label: session / "alf" / f"_ibl_{label}Camera.{ATTRIBUTES[estimator]}.pqt" for label in ("left", "body")}
    assert {label: len(next(iter(read_table(path).values()))) for label, path in paths.items()} == {
        "left": 120,
        "body": 60,
    }
    assert read_table(paths["left"])["nose_tip_x"].tolist()[:3] == [20.0, 21.0, 22.0]
    energy = np.load(session / "alf" / "leftCamera.ROIMotionEnergy.npy")
    assert energy.shape == (120,)
    changed = {path: path.stat().st_mtime_ns for path in paths.values()}
    assert estimate(estimator).tasks[TASKS[estimator]] is Status.COMPLETE
    assert {path: path.stat().st_mtime_ns for path in paths.values()} == changed


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("fail", "CUDA out of memory (made up)"),
        ("short", "another number of rows"),
        ("silent", "left no table"),
    ],
)
def test_an_exit_that_is_no_success_leaves_nothing_in_the_session(session, estimate, fault, words):
    before = sorted(path for path in session.rglob("*") if "ibl_dask" not in path.parts)
    videos = {path: path.stat() for path in session.glob("raw_video_data/*.mp4")}
    outcome = estimate(fault=fault)
    assert {path: path.stat().st_ctime_ns for path in videos} == {path: s.st_ctime_ns for path, s in videos.items()}
    assert outcome.tasks["DLC"] is Status.ERRORED
    assert any(words in failure.message for failure in outcome.failures), outcome.failures
    assert sorted(path for path in session.rglob("*") if "ibl_dask" not in path.parts) == before


def test_an_environment_without_it_is_named(estimate):
    outcome = estimate(python=Path(sys.executable))
    assert any("does not hold iblvideo" in failure.message for failure in outcome.failures)
    assert all(failure.category == "environment" for failure in outcome.failures)


def test_a_folder_that_a_shell_would_take_apart_is_not_given_to_it(session, estimate, tmp_path):
    other = tmp_path / "Subjects" / "x;touch HIT;" / "2023-05-01" / "001"
    other.parent.mkdir(parents=True)
    session.rename(other)
    outcome = estimate(session=other)
    assert outcome.tasks["DLC"] is Status.ERRORED
    assert "a path that a shell interprets" in outcome.failures[0].message
    assert not (other / "alf" / "_ibl_leftCamera.dlc.pqt").exists()
