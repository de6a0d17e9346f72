"""No raw video is moved or removed unless its copy was read whole in this run, whatever was recorded before."""

import hashlib
import json
import os
import shutil

import pytest
from program import on_disk

from ibl_dask.model.events import StepFinished
from ibl_dask.pipeline.run import run
from ibl_dask.synth import write_widefield_session
from ibl_dask.synth.session import write_session
from ibl_dask.video.container.index import index_video

FOLDER = "raw_video_data"
TASKS = {"VideoCompress": "body", "VideoConvert": "left"}
PLACES = {"VideoCompress": "lab/Subjects/SW_001/2023-05-01/001", "VideoConvert": "lab/Subjects/WF_001/2022-08-04/001"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return sessions of one camera whose raw video has a proven copy, by the task that made it."""
    root = tmp_path_factory.mktemp("finished")
    found = {task: root / task / place for task, place in PLACES.items()}
    write_session(found["VideoCompress"], duration_s=2, scale=0.125, gop=12, raw_avi=True, cameras=("body",))
    write_widefield_session(
        found["VideoConvert"], duration_s=1, cameras=("left",), scale=0.15, as_recorded=True, gop=24
    )
    for task, session in found.items():
        assert run([session], tasks=[task]).exit_code == 0
    return found


@pytest.fixture(params=TASKS)
def task(request):
    return request.param


@pytest.fixture
def session(finished, task, tmp_path):
    """Return a copy of one, with other change times, as all copies have."""
    return shutil.copytree(finished[task], tmp_path / PLACES[task])


def avi(session):
    (found,) = (session / FOLDER).glob("*.avi")
    return found


def mp4(session):
    (label,) = (name for task, name in TASKS.items() if PLACES[task].split("/")[2] in session.parts)
    return session / FOLDER / f"_iblrig_{label}Camera.raw.mp4"


def record(session):
    (found,) = (session / "ibl_dask").glob("*-compression.json")
    return found


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rewrite(path, content):
    """Write other bytes and leave all that `ls` shows."""
    stat = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def messages(result):
    return "\n".join(failure.message for failure in result.sessions[0].failures)


# -- what is done to the copy ------------------------------------------------------------------------------


def zeros(session):
    rewrite(mp4(session), bytes(mp4(session).stat().st_size))


def one_bit(session):
    content = bytearray(mp4(session).read_bytes())
    content[len(content) // 2] ^= 1
    rewrite(mp4(session), bytes(content))


def cut(session):
    rewrite(mp4(session), mp4(session).read_bytes()[:-100])


def another_video(session):
    rewrite(mp4(session), avi(session).read_bytes())


def nothing_in_it(session):
    rewrite(mp4(session), b"")


def a_folder(session):
    mp4(session).unlink()
    mp4(session).mkdir()


def gone(session):
    mp4(session).unlink()


def a_link_that_leads_nowhere(session):
    mp4(session).unlink()
    mp4(session).symlink_to("nowhere.mp4")


def a_record_of_other_bytes(session):
    content = json.loads(record(session).read_text())
    content["result"]["sha256"] = hashlib.sha256(b"").hexdigest()
    record(session).write_text(json.dumps(content))


def a_record_of_fewer_frames(session):
    content = json.loads(record(session).read_text())
    content["result"]["frames"] -= 1
    record(session).write_text(json.dumps(content))


def a_record_of_an_earlier_version(session):
    content = json.loads(record(session).read_text())
    content["version"] = 1
    for side, path in (("source", avi(session)), ("result", mp4(session))):
        del content[side]["file"]["content"]
        content[side]["file"]["mtime_ns"] = path.stat().st_mtime_ns
    record(session).write_text(json.dumps(content))


def half_a_record(session):
    record(session).write_text(record(session).read_text()[:200])


def a_record_of_another_form(session):
    record(session).write_text('{"version": 2, "source": [], "result": {"file": 3}}')


def another_raw_video(session):
    content = bytearray(avi(session).read_bytes())
    content[len(content) // 2] ^= 1
    rewrite(avi(session), bytes(content))


DAMAGES = [
    zeros,
    one_bit,
    cut,
    another_video,
    nothing_in_it,
    a_folder,
    gone,
    a_link_that_leads_nowhere,
    a_record_of_other_bytes,
    a_record_of_fewer_frames,
    a_record_of_an_earlier_version,
    half_a_record,
    a_record_of_another_form,
    another_raw_video,
]


class Once:
    """Do something as soon as the copy is found or made, before the raw video is settled."""

    def __init__(self, session, do):
        self.session, self.do, self.raw = session, do, ""

    def __call__(self, event):
        if isinstance(event, StepFinished) and event.record.key[0].split("-")[0] in ("compress", "convert"):
            self.do(self.session)
            self.raw = digest(avi(self.session))


@pytest.mark.parametrize("policy", ["trash", "delete"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_raw_video_stays_whose_copy_is_not_what_was_proven(session, task, damage, policy):
    """Whatever happened since it was looked at first, in this run or before."""
    listener = Once(session, damage)
    result = run([session], tasks=[task], raw_video=policy, listeners=[listener])
    assert result.exit_code == 1
    assert "the raw video is kept, though it should go" in messages(result)
    assert "What to do: " in messages(result)
    assert digest(avi(session)) == listener.raw
    assert not (session / f"{FOLDER}.trash").exists()


@pytest.mark.parametrize("damage", [zeros, one_bit, cut, another_raw_video], ids=lambda damage: damage.__name__)
def test_a_copy_that_was_destroyed_between_two_runs_is_named_and_made_anew_on_demand(session, task, damage):
    damage(session)
    raw, copy = digest(avi(session)), digest(mp4(session))
    result = run([session], tasks=[task], raw_video="delete")
    assert result.exit_code == 1
    assert "--overwrite" in messages(result)
    assert digest(avi(session)) == raw
    result = run([session], tasks=[task], raw_video="trash", overwrite=True)
    if damage is another_raw_video and task == "VideoCompress" and result.exit_code:
        assert digest(avi(session)) == raw, "what does not decode has no copy"
        return
    assert result.exit_code == 0, messages(result)
    trash = {path.name: digest(path) for path in (session / f"{FOLDER}.trash").iterdir()}
    if damage is another_raw_video:
        assert raw in trash.values()
    else:
        assert {raw, copy} == set(trash.values()), "a file that nobody proved is not overwritten either"
    assert len(index_video(mp4(session))) == json.loads(record(session).read_text())["result"]["frames"]


@pytest.mark.parametrize("policy", ["trash", "delete"])
def test_a_raw_video_goes_whose_copy_is_proven_now_also_where_both_were_copied(session, task, policy):
    raw = digest(avi(session))
    name = avi(session).name
    result = run([session], tasks=[task], raw_video=policy)
    assert result.exit_code == 0, messages(result)
    assert not (session / FOLDER / name).exists()
    assert digest(mp4(session)) == json.loads(record(session).read_text())["result"]["sha256"]
    trash = session / f"{FOLDER}.trash" / name
    assert (digest(trash) == raw) if policy == "trash" else not trash.exists()
    (settled,) = (r for r in result.sessions[0].records.values() if r.key[0].startswith("raw-"))
    assert settled.value["proof"] == digest(mp4(session))


def test_a_trash_that_is_a_link_is_not_written_through(session, task, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (session / f"{FOLDER}.trash").symlink_to(store)
    before = digest(avi(session))
    assert run([session], tasks=[task], raw_video="trash").exit_code == 1
    assert digest(avi(session)) == before
    assert not list(store.iterdir())


def test_a_raw_video_that_is_in_the_trash_under_both_names_leaves_its_first_one(session, task):
    """As a process that was killed while it moved the file leaves it."""
    name, before = avi(session).name, digest(avi(session))
    trash = session / f"{FOLDER}.trash" / name
    trash.parent.mkdir()
    trash.hardlink_to(avi(session))
    assert run([session], tasks=[task], raw_video="trash").exit_code == 0
    assert not (session / FOLDER / name).exists()
    assert digest(trash) == before


def test_what_is_registered_has_the_sum_of_the_bytes_that_are_there_now(session, task):
    def listed():
        run([session], tasks=["VideoRegisterRaw"])
        content = json.loads((session / "ibl_dask" / "registration.json").read_text())
        (entry,) = (entry for entry in content["files"] if entry["path"].endswith(".mp4"))
        return entry.get("sha256"), content["notes"]

    proven = digest(mp4(session))
    assert listed() == (proven, [])
    one_bit(session)
    found, notes = listed()
    assert found == digest(mp4(session)) != proven
    (note,) = notes
    assert mp4(session).name in note
    assert proven in note
    before = on_disk(session / FOLDER)
    assert listed()[0] == found
    assert on_disk(session / FOLDER) == before
