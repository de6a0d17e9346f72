import dataclasses
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from ibl_dask.report.content import CameraContent, SessionContent
from ibl_dask.report.html import render_session

HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}"
VOID = {"meta", "img", "path", "rect", "br", "link"}


class _Balance(HTMLParser):
    """Raise where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag


def render(content: SessionContent) -> str:
    page = render_session(content)
    balance = _Balance()
    balance.feed(page)
    assert not balance.open
    assert not re.search(r"""(?:src|href|action|data)\s*=\s*["']?\s*(?:https?:)?//""", page)
    assert not re.search(r"url\(|@import|<script|<link|<iframe", page)
    assert ">nan<" not in page.lower()
    return page


def test_a_session_renders_with_everything(flawed_session):
    page = render(flawed_session)
    for text in ("SW_043/2023-05-01/001", "CRITICAL", "framepass-left", "VideoSyncQcNidq", "20230502T081233-4be1f0"):
        assert text in page
    assert page.count("data:image/jpeg;base64,") == 24
    assert page.count("<svg") == 5


def test_a_session_of_which_nothing_is_known_renders():
    page = render(SessionContent("a/2020-01-01/001", "/s", "/s", "NOT_SET", ()))
    assert "No camera was checked." in page
    assert "Nothing is known of the run." in page


def test_a_camera_of_which_nothing_is_known_renders():
    content = SessionContent("a/2020-01-01/001", "/s", "/s", "CRITICAL", (CameraContent("left", {}),))
    page = render(content)
    assert "No check could be made." in page
    assert "Nothing was measured along the frames." in page


def _without(value: object) -> object:
    if isinstance(value, np.ndarray) or value is None:
        return None
    return type(value)()


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("part", [f.name for f in dataclasses.fields(CameraContent) if f.name != "label"])
def test_every_part_of_a_camera_may_be_missing(flawed_session, index, part):
    camera = flawed_session.cameras[index]
    changed = dataclasses.replace(camera, **{part: _without(getattr(camera, part))})
    render(dataclasses.replace(flawed_session, cameras=(changed,)))


@pytest.mark.parametrize("part", ["times_s", "time_quality", "residuals_s", "brightness", "sharpness", "thumbnails"])
def test_every_array_may_be_empty_or_of_another_length(flawed_session, part):
    camera = flawed_session.cameras[1]
    whole = getattr(camera, part)
    for n in (0, 1, 5):
        changed = dataclasses.replace(camera, **{part: whole[:n]})
        render(dataclasses.replace(flawed_session, cameras=(changed,)))


@pytest.mark.parametrize("part", ["times_s", "residuals_s", "brightness", "sharpness"])
def test_every_array_may_be_without_a_value(flawed_session, part):
    camera = flawed_session.cameras[1]
    changed = dataclasses.replace(camera, **{part: np.full_like(getattr(camera, part), np.nan)})
    render(dataclasses.replace(flawed_session, cameras=(changed,)))


@pytest.mark.parametrize("key", ["run", "host", "n_workers", "started_s", "seconds", "steps", "tasks", "failures"])
def test_every_part_of_what_ran_may_be_missing(flawed_session, key):
    for ran in ({k: v for k, v in flawed_session.ran.items() if k != key}, {**flawed_session.ran, key: None}):
        render(dataclasses.replace(flawed_session, cameras=(), ran=ran))


def test_values_may_be_missing_inside_the_parts(flawed_session):
    camera = flawed_session.cameras[1]
    changed = dataclasses.replace(
        camera,
        video=dict.fromkeys(camera.video),
        timing=dict.fromkeys(camera.timing),
        qc={"outcome": "FAIL", "checks": {"focus": {}, "brightness": None, "odd": {"numbers": [None, 1.5]}}},
    )
    page = render(dataclasses.replace(flawed_session, cameras=(changed,)))
    assert "none, 1.5" in page


def test_times_that_are_assumed_come_first_of_a_camera(flawed_session):
    at, camera = next((at, one) for at, one in enumerate(flawed_session.cameras) if one.times_s is not None)
    why = "numbers of frames and pulses alone say which pulse is that of frame 0"
    assumed = dataclasses.replace(camera, timing={**camera.timing, "n_assumed": 1234, "assumed": why})
    cameras = (*flawed_session.cameras[:at], assumed, *flawed_session.cameras[at + 1 :])
    page = render(dataclasses.replace(flawed_session, cameras=cameras))
    assert f"1,234 times are assumed: {why}" in page
    assert page.count("1,234 times are assumed") == 1
    assert "times are assumed" not in render(flawed_session)


def test_failing_checks_come_first(flawed_session):
    for section in render(flawed_session).split('<section class="camera"')[1:]:
        body = section.split("<tbody>")[1].split("</tbody>")[0]
        found = re.findall(r'<tr class="(\w+)"', body)
        order = ["CRITICAL", "FAIL", "WARNING", "NOT_SET", "PASS"]
        assert found == sorted(found, key=order.index)
        assert len(found) == 10


def test_failures_come_before_cameras_and_are_taken_apart(flawed_session):
    page = render(flawed_session)
    assert page.index('id="failures"') < page.index('class="overview"')
    top = page[page.index('id="failures"') : page.index('class="overview"')]
    assert "the sync holds no pulse of the body camera." in top
    for name in ("Where", "Expected", "Got", "What to do"):
        assert f"<dt>{name}</dt>" in top
    assert page.count("check that the cable of the camera was plugged in") == 1


def test_a_camera_that_could_not_be_checked_is_a_failure(no_pulses):
    camera = CameraContent("body", {"outcome": "CRITICAL", "checks": {}, "failure": no_pulses})
    page = render(SessionContent("a/2020-01-01/001", "/s", "/s", "CRITICAL", (camera,)))
    assert "1 failure" in page
    assert "body camera" in page


def test_a_session_without_failures_shows_no_failures(flawed_session):
    content = dataclasses.replace(flawed_session, ran={**flawed_session.ran, "failures": []})
    assert 'id="failures"' not in render(content)


def test_hostile_words_are_escaped(flawed_session):
    camera = dataclasses.replace(
        flawed_session.cameras[1],
        label=HOSTILE,
        no_times=HOSTILE,
        qc={
            "outcome": HOSTILE,
            "failure": HOSTILE,
            "checks": {HOSTILE: dict.fromkeys(("outcome", "measured", "threshold", "message"), HOSTILE)},
        },
        video=dict.fromkeys(("codec", "video", "width"), HOSTILE),
        timing={"method": HOSTILE, "notes": [HOSTILE]},
        motion_energy={HOSTILE: np.arange(9, dtype=np.float32)},
    )
    ran = {
        "run": HOSTILE,
        "host": HOSTILE,
        "steps": {HOSTILE: {"n": 1}},
        "tasks": {HOSTILE: HOSTILE},
        "failures": [dict.fromkeys(("kind", "category", "message", "traceback"), HOSTILE)],
    }
    made = {HOSTILE: HOSTILE, "time": HOSTILE}
    page = render(SessionContent(HOSTILE, HOSTILE, HOSTILE, HOSTILE, (camera,), ran, made))
    assert "<script" not in page
    assert ">49" not in page
    assert 'alert(1)</script>"' not in page


def test_three_cameras_of_540000_frames_stay_small_and_quick(long_session):
    clock = time.perf_counter()
    page = render_session(long_session)
    seconds = time.perf_counter() - clock
    assert len(page.encode()) < 1_500_000
    assert seconds < 15  # about 2 s on one core; generous for a busy machine
