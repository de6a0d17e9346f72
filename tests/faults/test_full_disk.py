"""A disk that is really full: the kernel refuses, the user is told what to do, and nothing half written is left.

Where this process may mount (root, or a user with namespaces of their own) a small tmpfs is filled. Where it may not,
as in most containers, the kernel is told to let no file grow (`RLIMIT_FSIZE` 0): then every disk is full. Both are
tried by `.ci/run chaos`.
"""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from program import PROGRAM, environment, says
from published import assert_same, results

from ibl_dask.pipeline import attempts
from ibl_dask.pipeline.limits import Limits
from ibl_dask.pipeline.run import run
from ibl_dask.store.journal import read_journal, segment_file

MOUNT = 'mkdir -p "$0" && mount -t tmpfs -o size=8m none "$0" && exec "$@"'

FULL = '''
import json, os, resource, shutil, sys
from pathlib import Path
import numpy as np
from ibl_dask.pipeline.limits import Limits
from ibl_dask.pipeline.run import run
from ibl_dask.store.frames import read_frames
from ibl_dask.video.reader import FrameReader

pytestmark = pytest.mark.faults

method, session, disk, out = sys.argv[1], *map(Path, sys.argv[2:])
FILLER = disk / "filler"
UNLIMITED = resource.getrlimit(resource.RLIMIT_FSIZE)

def fill():
    if method == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, UNLIMITED[1]))
        return
    with FILLER.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass

def free():
    resource.setrlimit(resource.RLIMIT_FSIZE, UNLIMITED)
    FILLER.unlink(missing_ok=True)

def check_whole(folder):
    """Whatever bears a final name can be read."""
    for path in folder.rglob("*"):
        assert not path.name.endswith((".tmp", ".previous")), path
        if path.suffix == ".npy":
            np.load(path)
        elif path.suffix == ".npz":
            with np.load(path) as content:
                [content[name] for name in content]
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".zarr":
            read_frames(path)
        elif path.suffix == ".mp4":
            with FrameReader(path) as reader:
                reader.read(0, len(reader.index))

class At:
    """Fill the disk when a run gets to a place."""
    def __init__(self, name, n):
        self.name, self.n, self.planned = name, n, 0
    def __call__(self, event):
        record = getattr(event, "record", None)
        name = type(event).__name__ if record is None else record.key[0].split("-")[0]
        steps = getattr(event, "steps", {})
        self.planned += sum(n for key, n in steps.items() if key.startswith(self.name))
        self.n -= name == self.name
        if name == self.name and self.n in (0, -self.planned) and not FILLER.exists():
            fill()

said = {}
for place, at in json.loads(os.environ["PLACES"]).items():
    arguments = {"output_root": disk / place, "work_dir": disk / place / "work", **json.loads(os.environ["OPTIONS"])}
    arguments["limits"] = Limits(longest_pause_s=0)
    first = run([session], listeners=[At(*at)], **arguments)
    texts = [f.message for f in first.sessions[0].failures] + [str(first.journal_failure)]
    qc = dict(first.sessions[0].qc)
    free()
    check_whole(disk / place)
    second = run([session], **arguments)
    check_whole(disk / place)
    said[place] = {
        "codes": [first.exit_code, second.exit_code], "texts": texts, "qc": qc,
        "categories": [f.category for f in first.sessions[0].failures],
        "done": first.sessions[0].count(os.environ["KIND"], "done"),
        "kept": second.sessions[0].count(os.environ["KIND"], "kept"),
        "left": [
            str(p) for p in (disk / place).rglob("*") if p.name == "lock.json" or "chunks" in p.name or "segm" in p.name
        ],
        "again": [f.message for f in second.sessions[0].failures],
    }
    shutil.copytree(disk / place, out / place)
    shutil.rmtree(disk / place)
print(json.dumps(said))
'''

ENCODED = 60 * 160 * 128

PLACES = {
    "times and chunks": ("SessionPlanned", 2),
    "the merge": ("framepass", 0),
    "the second merge": ("frames", 1),
    "the report": ("publish", 1),
}
"""Where the disk is full from then on -> the event, and which of its kind (0: the last), after which it is filled."""


@pytest.fixture(scope="module")
def may_mount(tmp_path_factory):
    """Return the command that mounts a tmpfs which only its processes see; None where that is not allowed."""
    place = tmp_path_factory.mktemp("mount") / "disk"
    for own in (["unshare", "-m"], ["unshare", "-Urm"]):
        command = [*own, "sh", "-c", MOUNT]
        try:
            if subprocess.run([*command, str(place), "true"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            return None
    return None


@pytest.fixture(params=["tmpfs", pytest.param("limit", marks=pytest.mark.chaos)])
def disk(request, may_mount, tmp_path):
    """Return how the disk is filled, and the prefix of a command that shall meet it."""
    place = tmp_path / "disk"
    place.mkdir()
    if request.param == "limit" and may_mount is None:
        pytest.skip("the other one has used the limit already, since nothing can be mounted here")
    if request.param == "limit" and "IBL_DASK_CHAOS_KILLS" not in os.environ:
        pytest.skip("a disk was filled; the limit is tried as well by `.ci/run chaos`")
    return ("limit", []) if may_mount is None or request.param == "limit" else ("tmpfs", [*may_mount, str(place)])


def test_wherever_it_fills_up_nothing_half_written_is_left_and_a_second_run_completes(
    disk, may_mount, session, tmp_path, undisturbed
):
    method, prefix = disk
    places = dict(list(PLACES.items())[:2]) if method == "limit" and may_mount else PLACES  # the rest was tried already
    done = subprocess.run(
        [*prefix, sys.executable, "-c", FULL, method, session, tmp_path / "disk", tmp_path / "out"],
        capture_output=True,
        text=True,
        env=environment(
            PLACES=json.dumps(places), OPTIONS=json.dumps({"chunk_pixels": 160 * 160 * 128}), KIND="framepass"
        ),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for place, what in said.items():
        assert what["codes"] == [1, 0], (place, what)
        text = " ".join(what["texts"])
        says(text, "the disk is full" if method == "tmpfs" else "a limit of this process", "Expected: room for")
        says(text, "--work-dir", "--output-root", "finished chunks are kept", tmp_path / "disk" / place)
        assert set(what["categories"]) <= {"disk"}, (place, what["texts"])
        assert what["left"] == []
        assert_same(results(tmp_path / "out" / place / session.relative_to(tmp_path)), undisturbed)
    assert said["the merge"]["kept"] == said["the merge"]["done"] > 3
    if "the second merge" not in places:
        return
    # Where a camera was merged before the disk was full, it is not measured again.
    assert 0 < said["the second merge"]["kept"] < said["the merge"]["kept"]


@pytest.mark.parametrize("place", ["compressing", "joining"])
def test_a_video_that_the_disk_has_no_room_for_gets_no_name_and_a_second_run_completes(
    disk, small_raw, tmp_path, place
):
    method, prefix = disk
    # After the last index no chunk can be kept; after the last chunk no video can be written.
    places = {place: {"compressing": ("rawindex", 0), "joining": ("encode", 0)}[place]}
    done = subprocess.run(
        [*prefix, sys.executable, "-c", FULL, method, small_raw, tmp_path / "disk", tmp_path / "out"],
        capture_output=True,
        text=True,
        env=environment(PLACES=json.dumps(places), OPTIONS=json.dumps({"encode_pixels": ENCODED}), KIND="encode"),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    what = json.loads(done.stdout)[place]
    assert what["codes"] == [1, 0], what
    says(" ".join(what["texts"]), "the disk is full" if method == "tmpfs" else "a limit of this process")
    assert set(what["categories"]) == {"disk"}, what["texts"]
    assert what["left"] == []
    assert (what["done"], what["kept"]) == ((0, 0) if place == "compressing" else (what["done"], what["done"]))
    folder = tmp_path / "out" / place / small_raw.relative_to(small_raw.parents[4]) / "raw_video_data"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"_iblrig_{label}Camera.raw.mp4" for label in ("body", "left", "right")
    ]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_compressed_video_that_cannot_be_given_its_name_is_not_there_and_a_second_run_only_joins_again(
    small_raw, tmp_path, monkeypatch, number
):
    monkeypatch.setattr("ibl_dask.store.disk.RETRY_PAUSES_S", (0.01, 0.02))
    raw = {path: path.read_bytes() for path in (small_raw / "raw_video_data").iterdir()}
    options = {"encode_pixels": ENCODED, "output_root": tmp_path / "out", "work_dir": tmp_path / "work"}
    plain = Path.replace

    def refuse(path, target):
        if str(target).endswith("leftCamera.raw.mp4"):
            raise OSError(number, os.strerror(number), str(path), None, str(target))
        return plain(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "PAUSES_S", (0.1,))
        patch.setattr(Path, "replace", refuse)
        first = run([small_raw], tasks=["VideoCompress"], limits=Limits(longest_pause_s=0), **options)
    (failure,) = first.sessions[0].failures
    assert first.exit_code == 1
    assert failure.category == "disk"
    says(failure.message, "_iblrig_leftCamera.raw.mp4", "What to do: ")
    folder = tmp_path / "out" / small_raw.relative_to(small_raw.parents[4]) / "raw_video_data"
    others = ["_iblrig_bodyCamera.raw.mp4", "_iblrig_rightCamera.raw.mp4"]
    assert sorted(path.name for path in folder.iterdir()) == others
    second = run([small_raw], tasks=["VideoCompress"], **options)
    assert second.exit_code == 0
    assert second.sessions[0].count("encode", "done") == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted([*others, "_iblrig_leftCamera.raw.mp4"])
    assert {path: path.read_bytes() for path in raw} == raw


def at_once(folder):
    """Return options with which a run does not wait for a full disk."""
    profile = folder / "site.yaml"
    profile.write_text("longest_pause: 0\n")
    return ["--profile", profile, "--yes"]


def test_the_user_of_the_command_line_is_told(disk, session, tmp_path, undisturbed):
    """Results and scratch have room for the first camera or so."""
    method, prefix = disk
    script = (
        'code=0; "$@" > "$OUT/first" 2>&1 || code=$?; echo $code >> "$OUT/codes"; '
        'ulimit -f unlimited; rm -f "$DISK/filler"; '
        'code=0; "$@" > "$OUT/second" 2>&1 || code=$?; echo $code >> "$OUT/codes"; cp -r "$DISK" "$OUT/disk"'
    )
    hinder = 'head -c 8300000 /dev/zero > "$DISK/filler"; ' if method == "tmpfs" else "ulimit -S -f 2; "
    out = tmp_path / "out"
    out.mkdir()
    command = [*PROGRAM, "run", session, "--workers", "0", "--output-root", tmp_path / "disk", *at_once(tmp_path)]
    subprocess.run(
        [*prefix, "bash", "-c", hinder + script, "bash", *command],
        env=environment(DISK=str(tmp_path / "disk"), OUT=str(out)),
        check=True,
    )
    text = (out / "first").read_text()
    assert "Traceback" not in text
    says(text, "the disk is full" if method == "tmpfs" else "a limit of this process")
    says(text, "where: ", "expected: room for ", "got: ", "what to do: free some room")
    assert (out / "codes").read_text().split() == ["1", "0"], (out / "second").read_text()
    assert_same(results(out / "disk" / session.relative_to(tmp_path)), undisturbed)


def test_a_session_on_another_disk_goes_on_and_so_does_the_run_without_its_journal(may_mount, session, tmp_path):
    if may_mount is None:
        pytest.skip(
            "two disks, of which one is full, need a mount, and this process may not; the limit fills all of them"
        )
    disk = tmp_path / "disk"
    script = (
        'cp -r "$SESSION/../../.." "$DISK/Subjects"; head -c 99m /dev/zero > "$DISK/filler"; '
        'code=0; "$@" > "$OUT/text" 2>&1 || code=$?; echo $code > "$OUT/code"; rm -rf "$DISK/filler"; '
        'cp -r "$DISK" "$OUT/disk"'
    )
    out = tmp_path / "out"
    out.mkdir()
    there = disk / "Subjects" / "SW_001" / "2023-05-01" / "001"
    second = session.parents[1] / "2023-05-02" / "001"
    second.parent.mkdir()
    session.rename(second)
    command = [*PROGRAM, "run", there, second, "--workers", "0", "--work-dir", disk / "work", *at_once(tmp_path)]
    subprocess.run(
        [*may_mount, str(disk), "bash", "-c", script, "bash", *command, "--tasks", "VideoRegisterRaw"],
        env=environment(DISK=str(disk), OUT=str(out), SESSION=str(second)),
        check=True,
        stderr=subprocess.DEVNULL,
    )
    text = (out / "text").read_text()
    assert "Traceback" not in text
    says(text, "the disk is full", "journal: the disk is full", "2023-05-02/001: done")
    assert (out / "code").read_text().strip() == "1"
    assert (second / "ibl_dask" / "report.html").stat().st_size > 1000
    assert not list((out / "disk").rglob("lock.json"))


@pytest.mark.parametrize("n_full", [1, 3])
def test_a_journal_that_meets_a_full_disk_is_whole_once_there_is_room(tmp_path, n_full):
    """Lines wait; a line of which half was written is completed, not begun anew."""
    from ibl_dask.store.journal import Journal

    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path) as journal:
        journal.append({"n": 0})
        resource.setrlimit(resource.RLIMIT_FSIZE, (segment_file(tmp_path, 0).stat().st_size + 5, unlimited[1]))
        try:
            for n in range(n_full):
                journal.append({"n": n + 1})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert "What to do: free some room" in str(journal.failure)
        journal.append({"n": n_full + 1})
        assert journal.failure is None
    assert [event["n"] for event in read_journal(tmp_path)] == list(range(n_full + 2))
