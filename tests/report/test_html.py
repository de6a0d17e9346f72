import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ibl_dask.model.failure import Failure
from ibl_dask.qc.record import failed_camera_record
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
    assert "No camera is described." in page
    assert "Nothing is known of the run." in page


def test_a_camera_of_which_nothing_is_known_renders():
    content = SessionContent("a/2020-01-01/001", "/s", "/s", "CRITICAL", (CameraContent("left", {}),))
    page = render(content)
    assert "No check was made." in page
    assert "Nothing was measured along the frames." in page


def _without(value: object) -> object:
    if isinstance(value, np.ndarray | Failure) or value is None:
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


@pytest.mark.parametrize("n_assumed", [1, 1800])
def test_times_that_rest_on_an_assumption_are_told_in_the_first_line_of_their_camera(flawed_session, n_assumed):
    camera = flawed_session.cameras[1]
    quality = camera.time_quality.copy()
    quality[:n_assumed] = 3
    page = render(dataclasses.replace(flawed_session, cameras=(dataclasses.replace(camera, time_quality=quality),)))
    line = page.split('class="line"')[1].split("</a>")[0]
    assert f"{n_assumed:,} times are assumed and may be off by whole frames" in line
    assert "Assumed." in page
    assert f"assumed {n_assumed:,}" in page
    assert "assumed and may be" not in render(flawed_session)


def test_failures_are_told_beside_the_checks_in_the_title(flawed_session):
    page = render(dataclasses.replace(flawed_session, outcome="PASS"))
    title = re.search("<title>(.*?)</title>", page)[1]
    assert title == "SW_043/2023-05-01/001 · checks PASS · 1 failure"
    assert "1 failure" in page.split("<h1>")[1].split("</h1>")[0]


def test_checks_that_passed_or_were_not_made_are_folded_under_their_counts(flawed_session):
    for section in render(flawed_session).split('<section class="camera"')[1:]:
        section = section.split("</section>")[0]
        shown = re.sub(r"<details class=.checks.*?</details>", "", section, flags=re.DOTALL)
        assert not re.findall(r'<tr class="(?:PASS|NOT_SET)"', shown)
        for outcome, words in (("PASS", "passed"), ("NOT_SET", "could not be made")):
            n = section.count(f'<tr class="{outcome}"')
            assert (f"{n} check" in section and words in section) or not n


def test_cameras_come_worst_first(flawed_session):
    page = render(flawed_session)
    outcomes = re.findall(r'<section class="camera".*?<h2>.*?</span> (\w+(?: \w+)?)</span>', page, re.DOTALL)
    order = ["CRITICAL", "FAIL", "WARNING", "NOT SET", "PASS"]
    assert len(outcomes) > 1
    assert outcomes == sorted(outcomes, key=order.index)


def test_failing_checks_come_first(flawed_session):
    for section in render(flawed_session).split('<section class="camera"')[1:]:
        found = re.findall(r'<tr class="(\w+)"', section.split("</section>")[0])
        order = ["CRITICAL", "FAIL", "WARNING", "PASS", "NOT_SET"]
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
    camera = CameraContent("body", failed_camera_record(no_pulses))
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
        no_times=Failure(*[HOSTILE] * 7, notes=(HOSTILE,)),
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


def test_three_cameras_of_540000_frames_stay_small(long_session):
    assert len(render_session(long_session).encode()) < 1_500_000
