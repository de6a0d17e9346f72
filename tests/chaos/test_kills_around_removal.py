"""A process that is killed at any moment around record, renaming and removal of a raw video loses no frame of it.

`IBL_DASK_CHAOS_REMOVALS` says how many moments are tried (3 by default, 200 in the long form of the gate); a moment's
seed is its number.
Moments are counted in what the process asks of the disk (to open, link, rename, remove ...), so that each of the few
between the first name and the last removal is met as often as any other.
"""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
from collections import Counter

import pytest

from ibl_dask.store import holder, identity
from ibl_dask.synth import write_widefield_session
from ibl_dask.synth.session import write_session
from ibl_dask.tasks.video_mp4.compress_task import VideoCompress
from ibl_dask.tasks.video_mp4.convert_task import VideoConvert
from ibl_dask.video.container.index import index_video

N_KILLS = int(os.environ.get("IBL_DASK_CHAOS_REMOVALS", "3"))
FOLDER = "raw_video_data"
TASKS = {VideoCompress: "body", VideoConvert: "left"}
PLACES = {VideoCompress: "lab/Subjects/SW_001/2023-05-01/001", VideoConvert: "lab/Subjects/WF_001/2022-08-04/001"}
ASKED = ("open", "os.", "shutil.")
"""What a process asks of the disk begins with one of these, in the words of `sys.addaudithook`."""


def settle(cls, session, policy, last_moment=None, counted=None):
    """Run a task; count what it asks of the disk at the session, and die when it is about to ask for the last time."""
    moments = 0

    def hook(event, arguments):
        nonlocal moments
        if event.startswith(ASKED) and any(str(session) in str(argument) for argument in arguments):
            moments += 1
            if moments == last_moment:
                os.kill(os.getpid(), signal.SIGKILL)

    # What is asked depends on no time: a file that is two seconds old is not hashed again, a lock is renewed.
    identity._SETTLED_NS = 10**18
    holder.HEARTBEAT_S = 600.0
    sys.addaudithook(hook)
    code = cls(session, raw_video=policy).run()
    if counted is not None:
        counted.put(moments)
    sys.exit(-code)


@pytest.fixture(scope="module")
def processes():
    """Return where processes come from that are quick to start and have imported what they need."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([__name__])
    return found


def in_another(processes, *arguments):
    process = processes.Process(target=settle, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, processes):
    """Return for each task a session, the digests of its raw files and of the copy, and the number of moments."""
    root, found = tmp_path_factory.mktemp("recorded"), {}
    for cls, place in PLACES.items():
        session, tried = root / place, root / "tried" / place
        if cls is VideoCompress:
            write_session(session, duration_s=1, scale=0.125, gop=12, raw_avi=True, cameras=("body",))
        else:
            write_widefield_session(session, duration_s=1, cameras=("left",), scale=0.1, as_recorded=True, gop=24)
        raw = digests(session)
        shutil.copytree(session, tried)
        counted = processes.SimpleQueue()
        assert in_another(processes, cls, tried, "delete", None, counted) == 0
        n_moments = counted.get()
        copy = hashlib.sha256(mp4(tried, cls).read_bytes()).hexdigest()
        found[cls] = session, raw, copy, n_moments
    return found


def mp4(session, cls):
    return session / FOLDER / f"_iblrig_{TASKS[cls]}Camera.raw.mp4"


def digests(session):
    """Return the digests of all raw files, wherever they are now and whatever they are called."""
    folders = (session / FOLDER, session / f"{FOLDER}.trash")
    paths = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in paths if not path.name.endswith(".tmp")}


def insist_on_every_frame(session, cls, raw, copy):
    """Either the raw video is there, byte by byte, or its copy is; every other raw file is there in any case.

    Return what became of the raw video.
    """
    now = digests(session)
    (video,) = (digest for digest, path in raw.items() if path.suffix == ".avi")
    assert raw.keys() - {video} <= now.keys()
    if video not in now:
        assert now[copy] == mp4(session, cls)
        record = json.loads((session / "ibl_dask" / f"{TASKS[cls]}Camera-compression.json").read_text())
        assert record["result"]["sha256"] == copy
        assert len(index_video(now[copy])) == record["source"]["frames"]
    elif mp4(session, cls).exists():
        assert now[copy] == mp4(session, cls), "a name is given to what is whole, or not at all"
    if video not in now:
        return "removed"
    places = {path.parent.name for path in now.values() if path.suffix == ".avi"}
    return "in the trash" if places == {f"{FOLDER}.trash"} else "in its place"


@pytest.mark.chaos
def test_no_frame_is_lost_whenever_the_process_is_killed(recorded, processes, tmp_path):
    states: Counter[str] = Counter()
    for seed in range(N_KILLS):
        rng = random.Random(seed)
        cls, policy = rng.choice(list(TASKS)), rng.choice(["trash", "delete"])
        template, raw, copy, n_moments = recorded[cls]
        # The last thirty hold record, names and proof, the last eight the removal.
        moment = n_moments - rng.randrange(rng.choice([8, 8, 30, n_moments]))
        session = shutil.copytree(template, tmp_path / str(seed) / PLACES[cls])
        assert in_another(processes, cls, session, policy, moment) == -signal.SIGKILL, (seed, moment)
        states[insist_on_every_frame(session, cls, raw, copy)] += 1
        assert in_another(processes, cls, session, policy) == 0, (seed, moment)
        settled = insist_on_every_frame(session, cls, raw, copy)
        assert settled == {"trash": "in the trash", "delete": "removed"}[policy]
        assert mp4(session, cls).exists()
        assert not list((session / FOLDER).glob("*.avi"))
        if policy == "trash":
            assert len(list((session / f"{FOLDER}.trash").iterdir())) == 1
        shutil.rmtree(tmp_path / str(seed))
    print(f"\n{N_KILLS} kills: nothing lost; the raw video was then {dict(states)}")
