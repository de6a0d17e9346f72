"""Figures and snapshots of finished tasks become notes of their session, each image once."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from alyx_passes import one_pass
from described import described
from fake_alyx import PNG


def png(shade: int) -> bytes:
    """Return an image of one pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes([0, shade]))) + chunk(b"IEND", b"")


@pytest.fixture
def session(fake, tmp_path: Path, monkeypatch) -> tuple[Path, str]:
    monkeypatch.setenv("IBL_DASK_TASK_PACKAGES", "reading_tasks")
    path = described(tmp_path, "SW_001/2026-11-20/001")
    return path, fake.world.add_session("SW_001")


def test_a_figure_is_a_note_once_per_image_and_no_dataset(fake, alyx, session, tmp_path: Path) -> None:
    path, eid = session
    key = fake.world.add_task(eid, "Draws", executable="reading_tasks.Draws")
    for shade in (1, 1, 2):
        (path / "image").write_bytes(png(shade))
        fake.world.tasks[key]["status"] = "Waiting"
        one_pass(alyx, tmp_path / "Subjects")
        assert fake.world.tasks[key]["status"] == "Complete", fake.world.tasks[key]["log"]
    assert sorted(fake.world.images.values()) == sorted([png(1), png(2)])
    assert fake.world.files_of(eid) == ["alf/licks.times.npy"]
    for note in fake.world.notes.values():
        assert (note["object_id"], note["text"]) == (eid, "dlc_qc_plot")
        assert (note["json"]["tag"], note["json"]["name"]) == ("## report ##", "dlc_qc_plot")
        assert note["json"]["function"] == "ibllib.plots.figures.dlc_qc_plot"


def test_snapshots_of_people_are_notes_with_their_texts(fake, alyx, session, tmp_path: Path) -> None:
    path, eid = session
    folder = path / "raw_video_data" / "snapshots"
    folder.mkdir(parents=True)
    (folder / "pupil.png").write_bytes(PNG)
    (folder / "pupil.txt").write_text("the lamp was off")
    (path / "raw_video_data" / "_iblrig_leftCamera.timestamps.ssv").write_text("1 2 3\n")
    key = fake.world.add_task(
        eid,
        "VideoRegisterRaw",
        executable="ibllib.pipes.video_tasks.VideoRegisterRaw",
        arguments={"device_collection": "raw_video_data", "cameras": ["left"]},
    )
    for _ in range(2):
        fake.world.tasks[key]["status"] = "Waiting"
        one_pass(alyx, tmp_path / "Subjects")
    assert fake.world.tasks[key]["status"] == "Complete", fake.world.tasks[key]["log"]
    assert [(note["text"], note["object_id"]) for note in fake.world.notes.values()] == [("the lamp was off", eid)]
    assert list(fake.world.images.values()) == [PNG]
