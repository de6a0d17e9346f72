"""Sessions that ran without Alyx are registered afterwards, by one command."""

import hashlib
import json
import subprocess
from dataclasses import replace

import pytest
from alyx_results import REPOSITORY
from program import PROGRAM, environment

from ibl_dask.alyx.session_results import add_session, checks_of, results_of, with_checks
from ibl_dask.alyx.spool import SPOOL_FOLDER, Spool
from ibl_dask.alyx.task_result import TaskResult
from ibl_dask.errors import MissingFile
from ibl_dask.model.outcome import Outcome
from ibl_dask.model.session import Session
from ibl_dask.pipeline.run import run
from ibl_dask.store.workspace import Workspace
from ibl_dask.synth.session import write_session

TOKEN = "0" * 39 + "1"
NAME = "Subjects/SW_001/2023-05-01/001"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Return a small session whose tasks of videos ran on this machine."""
    folder = tmp_path_factory.mktemp("offline") / NAME
    folder.mkdir(parents=True)
    write_session(folder, duration_s=5, scale=0.125, gop=40)
    run([folder], tasks=["VideoRegisterRaw", "VideoSyncQcNidq"])
    return Workspace(Session(folder), folder.parents[2] / ".ibl_dask")


def test_the_results_of_a_run_are_its_files_its_checks_and_its_logs(workspace):
    results = {result.task: result for result in results_of(workspace)}
    assert {name: result.status for name, result in results.items()} == {
        "VideoRegisterRaw": "Complete",
        "VideoSyncQC_nidq": "Complete",
    }
    raw = {output.path for output in results["VideoRegisterRaw"].outputs}
    assert "raw_video_data/_iblrig_leftCamera.raw.mp4" in raw
    times = {output.path: output for output in results["VideoSyncQC_nidq"].outputs}
    assert {f"alf/_ibl_{label}Camera.times.npy" for label in ("left", "right", "body")} == times.keys()
    for path, output in times.items():
        content = (workspace.session.outputs / path).read_bytes()
        assert (output.size, output.md5) == (len(content), hashlib.md5(content).hexdigest())
    checks = json.loads(workspace.qc_file.read_text())
    assert results["VideoSyncQC_nidq"].qc == checks["extended_qc"]
    cameras = {checks["extended_qc"][f"video{label}"] for label in ("Left", "Right", "Body")}
    assert results["VideoSyncQC_nidq"].outcome == max(cameras, key=lambda name: Outcome[name])
    assert results["VideoRegisterRaw"].qc == {}
    assert "ended: Complete" in results["VideoSyncQC_nidq"].log
    assert results["VideoSyncQC_nidq"].seconds > 0


@pytest.mark.parametrize(("decision", "outcome"), [("exclude", "PASS"), ("accept", "FAIL"), (None, "FAIL")])
def test_a_verdict_goes_along_and_excluded_keypoints_do_not_count(workspace, tmp_path, decision, outcome):
    record = json.loads(workspace.qc_file.read_text())
    record["extended_qc"] = {"videoLeft": "PASS", "dlcLeft": "FAIL", "_dlcLeft_trace_all_nan": "FAIL"}
    verdict = {} if decision is None else {"verdict": {"camera": "left", "decision": decision}}
    record["pose"] = {"dlcLeft": {"outcome": "FAIL", "checks": {}, **verdict}}
    other = Workspace(Session(workspace.session.path, tmp_path), tmp_path)
    other.session.own.mkdir(parents=True)
    other.qc_file.write_text(json.dumps(record))
    keys, worst = checks_of(other)
    assert worst == outcome
    assert keys.get("_dlcLeft_verdict") == decision


def test_checks_go_with_the_result_of_the_task_that_makes_them_alone(workspace):
    checks = json.loads(workspace.qc_file.read_text())["extended_qc"]
    made = TaskResult(workspace.session.reference, "a", "Complete", folder=str(workspace.session.path))
    assert with_checks(made, "ibllib.pipes.video_tasks.VideoSyncQcNidq").qc == checks
    assert with_checks(made, "ibllib.pipes.video_tasks.VideoCompress") == made
    held = replace(made, status="Held")
    assert with_checks(held, "ibllib.pipes.video_tasks.VideoSyncQcNidq") == held


def test_a_session_is_put_into_the_spool_once(workspace, tmp_path):
    spool = Spool(tmp_path)
    assert add_session(spool, workspace) == (2, 2)
    assert add_session(spool, workspace) == (0, 2)
    with spool.writing():
        for letter in spool.pending():
            spool.settle(letter, {})
    assert add_session(spool, workspace) == (0, 2)


def test_a_session_that_never_ran_is_told(tmp_path):
    folder = tmp_path / NAME
    folder.mkdir(parents=True)
    with pytest.raises(MissingFile, match="no record of a run"):
        results_of(Workspace(Session(folder), tmp_path))


def test_the_command_registers_a_session_and_shows_what_is_left(fake, workspace, tmp_path):
    session = fake.world.add_session("SW_001", "2023-05-01", 1)
    task = fake.world.add_task(session, "VideoSyncQC_nidq", status="Started")
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)

    def sync(*arguments):
        command = [*PROGRAM, "alyx", "sync", "--repository", REPOSITORY, "--work-dir", str(tmp_path)]
        given = environment(
            IBL_DASK_ALYX_URL=fake.url, IBL_DASK_ALYX_USER="test_user", IBL_DASK_ALYX_TOKEN_FILE=str(token_file)
        )
        done = subprocess.run(
            [*command, *arguments], env=given, capture_output=True, text=True, timeout=120, check=False
        )
        assert TOKEN not in done.stdout + done.stderr
        return done

    done = sync(str(workspace.session.path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 results are new" in done.stdout
    assert "2 sent, 0 left, 0 refused" in done.stdout
    row = fake.world.tasks[task]
    assert row["status"] == "Complete"
    assert fake.world.sessions[session]["extended_qc"]["videoLeft"]
    assert "alf/_ibl_leftCamera.times.npy" in fake.world.files_of(session)
    assert not list(tmp_path.rglob(f"{SPOOL_FOLDER}/dead/*"))
    spooled = [path.read_text() for path in (tmp_path / SPOOL_FOLDER).rglob("*.json*")]
    assert not [text for text in spooled if TOKEN in text]
