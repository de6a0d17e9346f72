"""Verdicts on keypoints: kept in order, and followed by plans, runs, checks and exports."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from disc_sessions import CHUNK_PIXELS, site, toy, write_discs
from hypothesis import given
from hypothesis import strategies as st
from pose_data import SIDE
from typer.testing import CliRunner

from ibl_dask.cli.app import app
from ibl_dask.errors import CorruptOutput, FormatTooNew, MissingFile, UsageError
from ibl_dask.model.session import Session
from ibl_dask.model.status import Status
from ibl_dask.model.verdict import DECISIONS, Verdict, current_verdict, is_excluded, rerun_mark
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run
from ibl_dask.pose.networks import Network
from ibl_dask.store.verdicts import add_verdict, read_verdicts
from ibl_dask.store.workspace import Workspace
from ibl_dask.tasks.pose.judging import judge

SESSION = Path("Subjects") / "SW_001" / "2023-05-01" / "001"
TASKS = ["DLC", "PostDLC"]


@pytest.fixture(scope="module")
def options():
    names = tuple(name for name in SIDE if "tube" not in name)
    whole = Network("side", ("toy",), cameras=("left", "right"))
    return {"chunk_pixels": CHUNK_PIXELS, **site(whole, engines=(toy(keypoints=names),))}


@pytest.fixture(scope="module")
def template(tmp_path_factory, options):
    """Run the pose of two cameras once."""
    folder = tmp_path_factory.mktemp("judged") / SESSION
    write_discs(folder, ("left", "right"), n_discs=9)
    for label, n_frames in (("left", 120), ("right", 300)):
        np.save(folder / "alf" / f"_ibl_{label}Camera.times.npy", np.arange(n_frames) / 60 + 1)
    run([folder], tasks=TASKS, **options)
    return folder


@pytest.fixture
def session(template, tmp_path):
    folder = tmp_path / SESSION
    shutil.copytree(template.parents[2], folder.parents[2], dirs_exist_ok=True)
    return folder


def verdict(folder, *words):
    return CliRunner().invoke(app, ["verdict", str(folder), *words])


def planned(folder, **options):
    return {task.task: task for task in forecast(make_pipeline(folder, tasks=TASKS, **options))}


def computed(outcome, kind):
    """Return the cameras whose steps of a kind were done, and not kept."""
    done = [record.key.name.split("-") for record in outcome.records.values() if record.status == "done"]
    return {name[1] for name in done if name[0] == kind}


def qc(folder):
    return json.loads((folder / "ibl_dask" / "qc.json").read_text())


def test_verdicts_are_kept_in_order_with_author_time_and_table(session):
    assert verdict(session, "left", "accept", "--reason", "looks right", "--by", "Ada").exit_code == 0
    assert verdict(session, "left", "exclude", "--reason", "lens moved", "--by", "Bo").exit_code == 0
    content = json.loads((session / "ibl_dask" / "verdicts.json").read_text())
    assert content["version"] == 1
    first, second = content["verdicts"]
    assert (first["decision"], first["by"], first["reason"]) == ("accept", "Ada", "looks right")
    assert (second["decision"], second["by"]) == ("exclude", "Bo")
    assert first["at"] < second["at"]
    assert set(first["tables"]) == {"dlc"}
    printed = verdict(session)
    assert printed.output.index("looks right") < printed.output.index("lens moved")


def test_rerun_is_planned_and_done_once_and_for_that_camera_alone(session, options):
    assert planned(session, **options)["DLC"].why == "nothing to do"
    before = (session / "alf" / "_ibl_leftCamera.dlc.pqt").read_bytes()
    verdict(session, "left", "rerun", "--reason", "another GPU")
    plan = planned(session, **options)["DLC"]
    assert plan.why == "changed parameters"
    assert "as a verdict asks" in " ".join(camera.detail for camera in plan.cameras)
    (outcome,) = run([session], tasks=TASKS, **options).sessions
    assert outcome.tasks["DLC"] is Status.COMPLETE, outcome.failures
    assert computed(outcome, "pose") == {"left"}
    # The network gives the same, so nothing is published twice.
    assert (session / "alf" / "_ibl_leftCamera.dlc.pqt").read_bytes() == before
    assert not list((session / "alf").glob("#*#"))
    assert planned(session, **options)["DLC"].why == "nothing to do"
    verdict(session, "left", "accept", "--reason", "better")
    assert planned(session, **options)["DLC"].why == "nothing to do"
    verdict(session, "left", "rerun", "--reason", "once more")
    assert planned(session, **options)["DLC"].why == "changed parameters"


def test_excluded_camera_is_left_out_of_features_checks_and_exports_with_a_note(session, options):
    for path in (session / "alf").glob("*.features.pqt"):
        path.unlink()
    result = verdict(session, "right", "exclude", "--reason", "the eye is out of the picture", "--by", "Ada")
    assert result.exit_code == 0, result.output
    plan = make_pipeline(session, tasks=TASKS, **options)
    assert any("right: exclude, by Ada" in note for note in plan.notes)
    (outcome,) = run([session], tasks=TASKS, **options).sessions
    assert outcome.tasks["PostDLC"] is Status.COMPLETE, outcome.failures
    assert [path.name for path in (session / "alf").glob("*.features.pqt")] == ["_ibl_leftCamera.features.pqt"]
    export = CliRunner().invoke(app, ["export", str(session), "--format", "csv"])
    assert export.exit_code == 0, export.output
    assert "the eye is out of the picture" in export.output
    assert [path.name for path in (session / "ibl_dask" / "export").iterdir()] == [
        "_iblrig_leftCamera.rawDLC_ibl_dask.csv"
    ]
    # Accepted later, it is back.
    verdict(session, "right", "accept", "--reason", "it is there after all")
    run([session], tasks=TASKS, **options)
    assert (session / "alf" / "_ibl_rightCamera.features.pqt").exists()


def test_checks_show_the_verdict_and_leave_excluded_keypoints_out_of_the_outcome(session):
    record = qc(session)
    assert record["pose"]["dlcLeft"]["outcome"] == record["pose"]["dlcRight"]["outcome"] == record["outcome"] == "FAIL"
    for label in ("left", "right"):
        verdict(session, label, "exclude", "--reason", "drawn discs", "--by", "Ada")
    record = qc(session)
    assert record["pose"]["dlcLeft"]["verdict"]["by"] == "Ada"
    assert record["pose"]["dlcLeft"]["outcome"] == "FAIL"
    assert record["extended_qc"]["dlcLeft"] == "FAIL"
    assert record["outcome"] != "FAIL"
    shown = CliRunner().invoke(app, ["qc", str(session)]).output
    assert "drawn discs" in shown
    assert "mean_in_bbox" not in shown
    assert CliRunner().invoke(app, ["report", str(session)]).exit_code == 0
    assert "drawn discs" in (session / "ibl_dask" / "report.html").read_text()


def test_an_acceptance_of_earlier_keypoints_is_shown_as_one(session, options):
    verdict(session, "left", "accept", "--reason", "I looked", "--by", "Ada")
    assert "of earlier keypoints" not in CliRunner().invoke(app, ["qc", str(session)]).output
    other = {**options, "networks": {"dlc": replace(options["networks"]["dlc"], median_frames=3)}}
    run([session], tasks=TASKS, **other)
    assert qc(session)["pose"]["dlcLeft"]["verdict"]["of_earlier_keypoints"] is True
    assert "of earlier keypoints" in CliRunner().invoke(app, ["qc", str(session)]).output


def test_session_whose_cameras_are_all_excluded_is_complete(session, options):
    for label in ("left", "right"):
        verdict(session, label, "exclude", "--reason", "dark")
    (outcome,) = run([session], tasks=TASKS, **options).sessions
    assert outcome.tasks["PostDLC"] is Status.COMPLETE, outcome.failures
    result = CliRunner().invoke(app, ["export", str(session), "--format", "csv"])
    assert result.exit_code == 0
    assert not (session / "ibl_dask" / "export").exists()


def test_a_verdict_survives_new_checks(session, options):
    verdict(session, "left", "accept", "--reason", "I looked", "--by", "Ada")
    run([session], tasks=["PostDLC"], **options)
    assert qc(session)["pose"]["dlcLeft"]["verdict"]["reason"] == "I looked"


DAMAGED = ("{", '{"version": 1}', '{"version": 1, "verdicts": [{"decision": "maybe"}]}', "[]")


def test_damaged_verdicts_stop_what_goes_by_them_and_stay_as_they_are(session, options):
    path = session / "ibl_dask" / "verdicts.json"
    for content in DAMAGED:
        path.write_text(content)
        with pytest.raises(CorruptOutput):
            read_verdicts(Session(session))
    plan = planned(session, **options)
    assert (plan["DLC"].why, plan["PostDLC"].why) == ("unusable", "waits")
    (outcome,) = run([session], tasks=TASKS, **options).sessions
    assert (outcome.tasks["DLC"], outcome.tasks["PostDLC"]) == (Status.ERRORED, Status.HELD)
    assert any("verdicts.json" in failure.where for failure in outcome.failures)
    (outcome,) = run([session], tasks=["PostDLC"], **options).sessions
    assert outcome.tasks["PostDLC"] is Status.ERRORED
    result = CliRunner().invoke(app, ["export", str(session), "--format", "csv"])
    assert result.exit_code == 1
    assert not (session / "ibl_dask" / "export").exists()
    with pytest.raises(CorruptOutput):
        judge(Workspace(Session(session), session / "work"), "left", "accept", "fine", "Ada")
    assert path.read_text() == DAMAGED[-1]


def test_verdicts_of_a_later_version_are_refused(tmp_path):
    own = tmp_path / SESSION / "ibl_dask"
    own.mkdir(parents=True)
    (own / "verdicts.json").write_text('{"version": 2, "verdicts": []}')
    with pytest.raises(FormatTooNew):
        read_verdicts(Session(tmp_path / SESSION))


def test_what_cannot_be_judged_is_named(session):
    workspace = Workspace(Session(session), session / "work")
    with pytest.raises(MissingFile, match="body"):
        judge(workspace, "body", "accept", "fine", "Ada")
    with pytest.raises(UsageError, match="--reason"):
        judge(workspace, "left", "accept", "  ", "Ada")
    result = verdict(session, "left", "exclud", "--reason", "typo")
    assert result.exit_code != 0
    assert "exclude" in str(result.exception)
    assert not (session / "ibl_dask" / "verdicts.json").exists()


def test_people_who_judge_at_the_same_time_lose_no_verdict(tmp_path):
    session = Session(tmp_path / SESSION)
    session.path.mkdir(parents=True)
    given_verdicts = [Verdict(f"camera{n}", "accept", "fine", "Ada", f"2026-01-01T00:00:{n:02d}") for n in range(12)]
    threads = [threading.Thread(target=add_verdict, args=(session, each)) for each in given_verdicts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.camera for each in read_verdicts(session)} == {each.camera for each in given_verdicts}


VERDICTS = st.lists(
    st.builds(
        Verdict,
        camera=st.sampled_from(["left", "right"]),
        decision=st.sampled_from(DECISIONS),
        reason=st.text(min_size=1),
        by=st.just("Ada"),
        at=st.integers(0, 10**6).map(str),
        tracker=st.sampled_from(["", "dlc", "lightningPose"]),
    ),
    max_size=8,
)


@given(VERDICTS)
def test_the_latest_verdict_counts_and_a_rerun_is_remembered_through_later_ones(verdicts):
    verdicts = tuple(verdicts)
    assert tuple(Verdict.from_json(json.loads(json.dumps(each.to_json()))) for each in verdicts) == verdicts
    about = [each for each in verdicts if each.camera == "left" and each.tracker in ("", "dlc")]
    assert current_verdict(verdicts, "left", "dlc") == (about[-1] if about else None)
    assert is_excluded(verdicts, "left", "dlc") == bool(about and about[-1].decision == "exclude")
    later = Verdict("left", "accept", "fine", "Ada", "later")
    assert rerun_mark((*verdicts, later), "left", "dlc") == rerun_mark(verdicts, "left", "dlc")
    assert rerun_mark((*verdicts, Verdict("left", "rerun", "x", "Ada", "last")), "left", "dlc") == "last"
