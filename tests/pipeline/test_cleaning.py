"""Removal of what nobody needs: results, raw data, files of others and what a run holds always stay."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from described import described
from hypothesis import given, settings
from hypothesis import strategies as st
from program import call, on_disk, says
from typer.testing import CliRunner

from ibl_dask.cli.app import app
from ibl_dask.cli.clean import clean, parse_age_s
from ibl_dask.errors import SessionLocked, UsageError
from ibl_dask.model import events
from ibl_dask.model.session import Session
from ibl_dask.pipeline.cleanable import Wanted, find_in_session, find_in_work_folder, sessions_of_work_folder
from ibl_dask.store import holder
from ibl_dask.store.atomic import temporary_name
from ibl_dask.store.compression_record import CompressionRecord, RecordedVideo, write_record
from ibl_dask.store.identity import identity, sha256_of
from ibl_dask.store.lock import holding
from ibl_dask.store.processes import this_process
from ibl_dask.store.workspace import Workspace

DAY_S = 86_400.0
EVERYTHING = Wanted(0.0, scratch=True, logs=True, trash=True, journals=True)
GONE = replace(this_process(), started=1)
ELSEWHERE = replace(this_process(), host="other", boot="0123456789ab")
FLAGS = ("--scratch", "--logs", "--trash", "--older-than", "0min")


def clean_here(*arguments):
    """Call the command in this process; return exit code and output."""
    found = CliRunner().invoke(app, ["clean", *map(str, arguments)], catch_exceptions=False)
    return found.exit_code, found.output


def put(path, text="x", age_s=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def workspace_of(root, number=1):
    folder = described(root, f"SW_001/2023-05-01/{number:03d}")
    return Workspace(Session(folder), root / "work")


def fill_scratch(space, n_chunks=2, age_s=40 * DAY_S):
    space.open_scratch()
    for number in range(n_chunks):
        start = 500 * number
        put(space.scratch / "left-chunks" / "0000" / f"{start:09d}-{start + 500:09d}.npz", "results")
    for path in [*space.scratch.rglob("*"), space.scratch]:
        os.utime(path, (time.time() - age_s,) * 2)


def finish(space, failures=(), tasks=None):
    ran = {"tasks": tasks or {"VideoSyncQC_nidq": "Complete"}, "failures": list(failures)}
    put(space.provenance_file, json.dumps({"version": 2, "ran": ran}))


def trash_video(space, content="raw", *, is_proven=True):
    """Leave a compressed video, its record, and the raw one in the trash."""
    camera = space.session.description.camera("left")
    video = put(space.video_file(camera), "compressed")
    raw = put(video.parent.with_name("raw_video_data.trash") / "_iblrig_leftCamera.raw.avi", content)
    source = RecordedVideo(identity(raw), {}, 3)
    record = CompressionRecord(
        source, RecordedVideo(identity(video), {}, 3), sha256_of(video), {"profile": {"name": "x"}, "notes": []}
    )
    space.session.own.mkdir(exist_ok=True)
    if is_proven:
        write_record(space, "left", record)
    return raw, video


def write_lock(space, process, age_s=0.0):
    put(space.session.own / "lock.json", json.dumps({**process.to_json(), "since": 0}), age_s)


def old_run(work_dir, name, process, *, ended=False, age_s=40 * DAY_S, in_folder=False, beats=False, sessions=()):
    paths = tuple(map(str, sessions))
    written = [events.RunStarted(name, paths, process.host, process.pid, 0, "0.1", 0.0, process.mark)]
    written += [events.RunFinished(name, 0, 0, 1.0, 0.0)] if ended else []
    lines = "".join(json.dumps({"v": 1, **events.to_json(event)}) + "\n" for event in written)
    path = work_dir / "runs" / name / "events-00000.jsonl" if in_folder else work_dir / f"events-{name}.jsonl"
    put(path, lines, age_s)
    if beats:
        put(path.parent / "beat.json", "{}", age_s)
    return path


def test_nothing_is_removed_without_yes(tmp_path):
    space = workspace_of(tmp_path)
    fill_scratch(space)
    finish(space)
    before = on_disk(tmp_path)
    code, text = call("clean", space.session.path, "--work-dir", space.work_dir)
    assert code == 0
    says(text, "scratch", "its session is finished", "would be removed; nothing was: --yes removes it")
    assert on_disk(tmp_path) == before


def test_scratch_of_a_finished_session_goes_and_results_stay(tmp_path):
    space = workspace_of(tmp_path)
    fill_scratch(space)
    put(space.times_file("left"), "times")
    finish(space)
    code, text = clean_here("--work-dir", space.work_dir, "--yes")
    assert code == 0, text
    assert not space.scratch.exists()
    assert space.times_file("left").read_text() == "times"
    assert space.provenance_file.exists()
    says(clean_here("--work-dir", space.work_dir)[1], "nothing to remove")


def test_scratch_that_another_run_would_use_stays_unless_it_is_asked_for_and_old(tmp_path, capsys):
    space = workspace_of(tmp_path)
    fill_scratch(space, n_chunks=3, age_s=40 * DAY_S)
    finish(space, failures=[{"what": "no pulses"}])
    call_clean = (str(space.session.path),), space.work_dir, None
    assert clean(*call_clean, "30d", False, False, False, False, True, False) == 0
    assert "3 chunks (1,500 frames) would be computed anew (--scratch)" in capsys.readouterr().out.replace("\n", " ")
    assert clean(*call_clean, "50d", True, False, False, False, True, False) == 0
    assert "not old enough" in capsys.readouterr().out.replace("\n", " ")
    assert space.scratch.exists()
    assert clean(*call_clean, "30d", True, False, False, False, True, False) == 0
    assert not space.scratch.exists()


def test_scratch_of_a_run_that_was_killed_after_a_good_one_stays(tmp_path):
    space = workspace_of(tmp_path)
    finish(space)
    os.utime(space.provenance_file, (time.time() - DAY_S,) * 2)
    fill_scratch(space, age_s=3600)
    (found,) = find_in_session(space, Wanted(0.0))
    assert "not finished" in found.keep


def test_scratch_of_a_session_that_is_gone_goes_and_of_one_out_of_sight_stays(tmp_path):
    gone, away = workspace_of(tmp_path / "a"), workspace_of(tmp_path / "b")
    for space in (gone, away):
        fill_scratch(space)
    (gone.session.path / "_ibl_experiment.description.yaml").unlink()
    gone.session.path.rmdir()
    (tmp_path / "b" / "Subjects").rename(tmp_path / "b" / "not mounted")
    assert [each.keep for each in find_in_session(gone, Wanted(DAY_S))] == [""]
    (kept,) = find_in_session(away, Wanted(DAY_S))
    assert "cannot be seen from here" in kept.keep


def test_scratch_without_a_note_is_known_by_the_runs_or_stays(tmp_path):
    listed, unknown = workspace_of(tmp_path, 1), workspace_of(tmp_path, 2)
    for space in (listed, unknown):
        fill_scratch(space)
        finish(space)
        (space.scratch / "session.json").unlink()
    old_run(tmp_path / "work", "20250101T000000-abcdef", GONE, sessions=[listed.session.path])
    spaces, kept = sessions_of_work_folder(tmp_path / "work")
    assert [space.session.path for space in spaces] == [listed.session.path]
    assert [each.path for each in kept] == [unknown.scratch]
    assert kept[0].keep.startswith("nothing says whose it is")


def test_results_under_an_output_root_are_found_from_the_work_folder(tmp_path):
    folder = described(tmp_path)
    space = Workspace(Session(folder, tmp_path / "out"), tmp_path / "work")
    fill_scratch(space)
    finish(space)
    spaces, kept = sessions_of_work_folder(tmp_path / "work")
    assert [each.session.outputs for each in spaces] == [space.session.outputs]
    assert kept == []


# -- holders ---------------------------------------------------------------------------------------------------------


def test_a_session_that_a_live_process_holds_is_left_alone(tmp_path):
    space = workspace_of(tmp_path)
    fill_scratch(space)
    finish(space)
    code = "import sys, pathlib; from ibl_dask.store.lock import holding\n"
    code += "with holding(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.readline()"
    command = [sys.executable, "-c", code, str(space.session.own / "lock.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        before = on_disk(tmp_path / "work")
        code, text = clean_here(space.session.path, "--work-dir", space.work_dir, *FLAGS, "--yes")
        assert code == 0
        says(text, f"is held by process {process.pid}", "nothing was removed")
        assert on_disk(tmp_path / "work") == before
        process.kill()
    says(clean_here(space.session.path, "--work-dir", space.work_dir, "--yes")[1], "removed")
    assert not space.scratch.exists()


def test_no_run_begins_in_a_session_while_its_first_scratch_is_removed(tmp_path, monkeypatch):
    space = workspace_of(tmp_path)
    fill_scratch(space)
    assert not space.session.own.exists()

    def remove(path):
        with pytest.raises(SessionLocked), holding(space.session.own / "lock.json"):
            pass
        shutil.rmtree(path)

    monkeypatch.setattr("ibl_dask.pipeline.cleaning.remove", remove)
    assert clean([str(space.session.path)], space.work_dir, None, "30d", True, *[False] * 3, True, False) == 0
    assert not space.scratch.exists()
    assert not space.session.own.exists()


def test_locks_that_look_abandoned_are_watched_before_anything_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(holder, "WATCHED_S", 0.5)
    monkeypatch.setattr("ibl_dask.pipeline.cleaning.LOOK_S", 0.1)
    space = workspace_of(tmp_path)
    fill_scratch(space)
    finish(space)
    write_lock(space, ELSEWHERE, age_s=2 * holder.STALE_S)
    assert clean([str(space.session.path)], space.work_dir, None, "30d", *[False] * 4, True, False) == 0
    assert not space.scratch.exists()


def test_what_a_process_writes_now_stays(tmp_path):
    space = workspace_of(tmp_path)
    fill_scratch(space)
    finish(space)
    live = put(temporary_name(space.scratch / "x.npz"))
    dead = put(space.session.own / live.name.replace(this_process().mark, GONE.mark))
    found = {each.path: each.keep for each in find_in_session(space, EVERYTHING)}
    assert "writing to it" in found[space.scratch]
    assert found[dead] == ""
    assert live not in found


# -- logs, trash, journals -------------------------------------------------------------------------------------------


def test_logs_go_by_age_and_other_files_among_them_stay(tmp_path):
    space = workspace_of(tmp_path)
    logs = space.session.own / "logs"
    old, young = put(logs / "DLC-1.log", age_s=40 * DAY_S), put(logs / "DLC-2.log", age_s=20 * DAY_S)
    note = put(logs / "readme.md", age_s=40 * DAY_S)
    aim = put(tmp_path / "elsewhere.log", age_s=40 * DAY_S)
    (logs / "linked.log").symlink_to(aim)
    assert find_in_session(space, Wanted(30 * DAY_S)) == []
    assert clean_here(space.session.path, "--logs", "--yes")[0] == 0
    assert not old.exists()
    assert all(path.exists() for path in (young, note, aim, logs / "linked.log"))


def test_a_raw_video_in_the_trash_goes_only_when_it_is_asked_for_by_name(tmp_path):
    space = workspace_of(tmp_path)
    raw, video = trash_video(space)
    mine = put(raw.parent / "notes.txt")
    clean_here(space.session.path, "--scratch", "--logs", "--older-than", "0min", "--yes")
    assert raw.exists()
    clean_here(space.session.path, "--trash", "--yes")  # it is young
    assert raw.exists()
    text = clean_here(space.session.path, *FLAGS)[1]
    says(text, "trash", "raw video, moved here at the user's request")
    assert clean_here(space.session.path, *FLAGS, "--yes")[0] == 0
    assert not raw.exists()
    assert video.read_text() == "compressed"
    assert mine.exists()


@pytest.mark.parametrize("fault", ["no record", "gone", "other size", "other bytes", "other raw"])
def test_a_raw_video_in_the_trash_stays_where_its_copy_is_not_proven(tmp_path, fault):
    space = workspace_of(tmp_path)
    raw, video = trash_video(space, is_proven=fault != "no record")
    if fault == "gone":
        video.unlink()
    elif fault == "other size":
        video.write_text("short")
    elif fault == "other bytes":
        video.write_text("comprimsed")
    elif fault == "other raw":
        raw.write_text("war")
    code, text = clean_here(space.session.path, *FLAGS, "--yes")
    assert raw.exists(), text
    assert code == (fault == "other bytes"), text


def test_journals_of_old_runs_go_in_both_layouts_and_those_that_matter_stay(tmp_path):
    work = tmp_path / "work"
    dead = old_run(work, "20250101T000000-aaaaaa", GONE)
    ended = old_run(work, "20250102T000000-bbbbbb", ELSEWHERE, ended=True, in_folder=True)
    silent = old_run(work, "20250102T000001-bbbbbb", ELSEWHERE, in_folder=True, beats=True)
    kept = [
        old_run(work, "20250103T000000-cccccc", ELSEWHERE),
        old_run(work, "20250103T000001-cccccc", ELSEWHERE, in_folder=True),
        old_run(work, "20250104T000000-dddddd", this_process(), in_folder=True),
        old_run(work, "20250105T000000-eeeeee", GONE, ended=True, age_s=DAY_S),
        old_run(work, "20250106T000000-ffffff", GONE, ended=True, age_s=0),
        put(work / "events-mine.jsonl", age_s=50 * DAY_S),
        put(work / "runs" / "mine" / "events.jsonl", age_s=50 * DAY_S),
    ]
    page = put(work / "dask-20250101T000000-aaaaaa.html", age_s=40 * DAY_S)
    code, text = clean_here("--work-dir", work, "--journals", "--yes")
    assert code == 0, text
    assert not any(path.exists() for path in (dead, page, ended.parent, silent.parent))
    assert all(path.exists() for path in kept)
    says(text, "its driver cannot be seen from here", "its run is under way")


def test_logs_of_jobs_go_unless_a_run_may_still_write_them(tmp_path):
    work = tmp_path / "work"
    log = put(work / "jobs" / "cpu-3-4711.log", age_s=40 * DAY_S)
    mine = put(work / "jobs" / "notes.log", age_s=40 * DAY_S)
    old_run(work, "20200101T000000-aaaaaa", this_process())
    (found,) = find_in_work_folder(work, Wanted(DAY_S, logs=True))
    assert found.path == log
    assert "under way" in found.keep
    (work / "events-20200101T000000-aaaaaa.jsonl").unlink()
    assert clean_here("--work-dir", work, "--logs", "--yes")[0] == 0
    assert not log.exists()
    assert mine.exists()


# -- the request -----------------------------------------------------------------------------------------------------


def test_an_age_has_a_unit():
    assert (parse_age_s("1.5h"), parse_age_s("2w")) == (5400, 14 * DAY_S)
    for text in ("30", "-1d", "d", "1e9d", "30 days"):
        with pytest.raises(UsageError, match="30d"):
            parse_age_s(text)


def test_journals_of_sessions_and_trash_of_no_session_are_refused(tmp_path):
    space = workspace_of(tmp_path)
    with pytest.raises(UsageError, match="leave the sessions out"):
        clean_here(space.session.path, "--journals")
    with pytest.raises(UsageError, match="name the sessions"):
        clean_here("--trash", "--work-dir", tmp_path)


def test_what_cannot_be_removed_is_said_and_the_rest_goes(tmp_path, monkeypatch, capsys):
    first, second = workspace_of(tmp_path, 1), workspace_of(tmp_path, 2)
    for space in (first, second):
        fill_scratch(space)
        finish(space)

    def refuse(path):
        if path == first.scratch:
            raise PermissionError(13, "Permission denied", str(path))
        real(path)

    from ibl_dask.pipeline import cleaning

    real = cleaning.remove
    monkeypatch.setattr(cleaning, "remove", refuse)
    paths = [str(space.session.path) for space in (first, second)]
    assert clean(paths, tmp_path / "work", None, "30d", *[False] * 4, True, True) == 1
    found = json.loads(capsys.readouterr().out)["found"]
    assert {each["session"]: bool(each["keep"]) for each in found} == {
        first.session.reference: True,
        second.session.reference: False,
    }
    assert not second.scratch.exists()


# -- random trees ----------------------------------------------------------------------------------------------------

LOCKS = ("none", "gone", "live", "elsewhere", "silent elsewhere")
SESSION = st.fixed_dictionaries(
    {
        "lock": st.sampled_from(LOCKS),
        "provenance": st.sampled_from(("none", "good", "failed")),
        "scratch": st.sampled_from(("none", "old", "new", "link", "no note")),
        "log": st.booleans(),
        "trash": st.sampled_from(("none", "proven", "unproven")),
        "dead temporary": st.booleans(),
        "linked results": st.booleans(),
    }
)


def plant(space, parts, foreign):
    """Make a session as the parts say; return the files that must stay whatever happens."""
    own, session = space.session.own, space.session.path
    stay = [put(session / "raw_video_data" / "_iblrig_rightCamera.raw.avi"), put(session / "alf" / "_ibl_a.times.npy")]
    if parts["linked results"]:
        elsewhere = put(session.parents[3] / "elsewhere" / session.name / "logs" / "x.log", age_s=DAY_S)
        own.symlink_to(elsewhere.parents[1])
        stay.append(elsewhere)
    own.mkdir(exist_ok=True)
    stay += [put(own / "qc.json"), put(own / "leftCamera-frames.zarr" / "zarr.json"), put(own / "done" / "wheel.json")]
    stay += [put(own / "logs" / "mine.txt"), put(own / ".mine.tmp")]
    if parts["scratch"] == "link":
        space.scratch.parent.mkdir(parents=True, exist_ok=True)
        stay.append(put(foreign / space.scratch.name / "x.npz"))
        space.scratch.symlink_to(foreign / space.scratch.name)
    elif parts["scratch"] != "none":
        fill_scratch(space, age_s=DAY_S if parts["scratch"] == "old" else -5)
        if parts["scratch"] == "no note":
            (space.scratch / "session.json").unlink()
    if parts["provenance"] != "none":
        finish(space, [{"what": "x"}] if parts["provenance"] == "failed" else [])
        stay.append(space.provenance_file)
    if parts["log"]:
        put(own / "logs" / "DLC.log", age_s=DAY_S)
    if parts["trash"] != "none":
        raw, video = trash_video(space, is_proven=parts["trash"] == "proven")
        stay += [video, put(raw.parent / "mine.txt"), *([raw] if parts["trash"] == "unproven" else [])]
    if parts["dead temporary"]:
        put(session / "alf" / temporary_name(Path("x.npy")).name.replace(this_process().mark, GONE.mark))
    processes = {"gone": GONE, "live": this_process(), "elsewhere": ELSEWHERE, "silent elsewhere": ELSEWHERE}
    if parts["lock"] in processes:
        write_lock(space, processes[parts["lock"]], 2 * holder.STALE_S if parts["lock"] == "silent elsewhere" else 0)
    return stay


@settings(max_examples=40, derandomize=True)
@given(
    st.lists(SESSION, min_size=1, max_size=3),
    st.sampled_from(("sessions", "work folder")),
    st.booleans(),
)
def test_results_raw_data_and_files_of_others_survive_and_a_second_time_there_is_nothing_left(parts, mode, is_meant):
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(holder, "WATCHED_S", 0.0)
        patch.setattr("ibl_dask.cli.clean.print_whole", lambda text: None)
        root = Path(name)
        foreign = root / "foreign"
        work = root / "work"
        spaces = [workspace_of(root, number + 1) for number in range(len(parts))]
        stay = [path for space, each in zip(spaces, parts, strict=True) for path in plant(space, each, foreign)]
        stay += [put(work / "notes.txt"), put(work / "scratch" / "mine" / "x.npz"), put(foreign / "y")]
        held = [s for s, each in zip(spaces, parts, strict=True) if each["lock"] in ("live", "elsewhere")]
        untouched = {s.scratch: on_disk(s.scratch) for s in held if s.scratch.exists()}
        untouched |= {s.session.path: on_disk(s.session.path) for s in held}
        before = {path: path.read_bytes() for path in stay}
        whole = on_disk(root)
        is_of_sessions = mode == "sessions"
        given_sessions = [str(space.session.path) for space in spaces] if is_of_sessions else []
        flags = (True, True, is_of_sessions, not is_of_sessions)
        assert clean(given_sessions, work, None, "0min", *flags, is_meant, True) == 0
        assert {path: path.read_bytes() for path in stay} == before
        assert {path: on_disk(path) for path in untouched} == untouched
        if not is_meant:
            assert on_disk(root) == whole
            return
        wanted = replace(EVERYTHING, trash=is_of_sessions)
        free = [s for s in (spaces if is_of_sessions else sessions_of_work_folder(work)[0]) if s not in held]
        left = [each for s in free for each in find_in_session(s, wanted, scratch_alone=not is_of_sessions)]
        assert [each for each in left if not each.keep] == []
