"""Two files of one kind, whose names differ in their UUIDs alone: equal bytes are one file, others are both named."""

import shutil

import pytest

import ibl_dask as ibd

UUIDS = [f"01234567-89ab-cdef-0123-{n:012d}" for n in range(2)]
RAW = "raw_video_data/_iblrig_leftCamera"
SYNC = "raw_ephys_data"
ALL = {f"_ibl_{label}Camera.times.npy" for label in ("left", "right", "body")}


def timed(session):
    return {path.name for path in (session / "alf").glob("_ibl_*Camera.times.npy")}


@pytest.mark.parametrize(
    "name",
    [f"{RAW}.frameData.bin", f"{RAW}.raw.mp4", f"{SYNC}/_spikeglx_sync.channels.npy", f"{SYNC}/x.wiring.json"],
)
def test_two_that_differ_are_both_named_and_cost_no_more_than_they_must(session, name):
    path = session / name
    content = path.read_bytes() if path.exists() else b'{"SYNC_WIRING_DIGITAL": {"P0.0": "left_camera"}}'
    path.unlink(missing_ok=True)
    both = [path.with_name(f"{path.stem}.{unique}{path.suffix}") for unique in UUIDS]
    for copy, end in zip(both, (b"", b" "), strict=True):
        copy.write_bytes(content + end)
    task = ibd.VideoSyncQcNidq(session)
    task.extract_camera()
    told = [record.failure.message for record in task.records.values() if record.failure is not None]
    assert any(all(copy.name in text for copy in both) for text in told), told
    assert timed(session) == (ALL - {"_ibl_leftCamera.times.npy"} if name.startswith(RAW) else set())
    others = {spec.name for spec in ibd.make_pipeline(session).specs}
    assert "VideoRegisterRaw" in others, "a plan survives it"


def test_equal_copies_of_everything_are_one_file_each(session):
    for path in [path for path in session.glob("raw_*/*") if path.is_file()]:
        shutil.copy(path, path.with_name(f"{path.stem}.{UUIDS[0]}{path.suffix}"))
    ibd.VideoSyncQcNidq(session).extract_camera()
    assert timed(session) == ALL


def test_a_wheel_that_is_there_twice_says_nothing_and_stops_nobody(session):
    (session / "alf").mkdir(exist_ok=True)
    for n, unique in enumerate(UUIDS):
        for part in ("timestamps", "position"):
            (session / "alf" / f"_ibl_wheel.{part}.{unique}.npy").write_bytes(bytes(n))
    ibd.VideoSyncQcNidq(session).extract_camera()
    assert timed(session) == ALL
