"""A video that is still being copied, or is taken away, fails its camera alone, and says so."""

import os

import pytest
from program import says
from published import assert_same, results

from ibl_dask.model.events import SessionPlanned, StepFinished
from ibl_dask.pipeline.run import run

pytestmark = pytest.mark.faults


def vanish(video):
    video.rename(video.with_name("away"))


def grow(video):
    with video.open("ab") as file:
        file.write(bytes(1000))


def shrink(video):
    os.truncate(video, video.stat().st_size // 2)


def rewrite(video):
    """Write over it in place, as a copy that was begun anew does: the size stays."""
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


class Change:
    """Change a video when a run gets to a place."""

    def __init__(self, video, change, moment):
        self.video, self.change, self.moment, self.kept = video, change, moment, None

    def __call__(self, event):
        if self.moment == "before decoding":
            now = isinstance(event, SessionPlanned) and "framepass-left" in event.steps
        elif self.moment == "before planning":
            now = isinstance(event, StepFinished) and event.record.key[0] == "index-left"
        else:
            now = isinstance(event, StepFinished) and event.record.key[0] == "framepass-left"
        if now and self.kept is None:
            found = self.video.stat()
            self.kept = (self.video.read_bytes(), (found.st_atime_ns, found.st_mtime_ns))
            self.change(self.video)


@pytest.mark.parametrize(
    ("moment", "change"),
    [
        ("before planning", vanish),
        ("before planning", grow),
        ("before decoding", shrink),
        ("before decoding", rewrite),
        ("between two chunks", vanish),
        ("between two chunks", rewrite),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_it_fails_its_camera_alone_and_a_second_run_completes(session, undisturbed, change, moment):
    video = session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    listener = Change(video, change, moment)
    result = run([session], listeners=[listener], chunk_pixels=160 * 160 * 128)
    assert listener.kept is not None
    assert result.exit_code == 1
    texts = " ".join(failure.message for failure in result.sessions[0].failures)
    says(texts, "since it was indexed", video, "What to do: ")
    category = "missing_input" if change is vanish else "corrupt_input"
    assert {failure.category for failure in result.sessions[0].failures} == {category}
    assert result.sessions[0].qc["right"] != "CRITICAL"
    assert not (session / "ibl_dask" / "leftCamera-frames.zarr").exists()

    video.write_bytes(listener.kept[0])
    os.utime(video, ns=listener.kept[1])
    assert run([session], chunk_pixels=160 * 160 * 128).exit_code == 0
    assert_same(results(session), undisturbed)
