"""The viewer in a real browser: exact frames, cameras in step, and clicks that lead where they should."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ibl_dask.model.session import Session
from ibl_dask.store.verdicts import read_verdicts
from ibl_dask.synth.burn import read_frame_number
from ibl_dask.view.folder import write_view
from ibl_dask.view.session_view import SessionView

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from browser import Page

    from ibl_dask.view.server import ViewServer

pytestmark = pytest.mark.browser
LABELS = ("left", "right", "body")
SEEKS = 200
_STRIP = """(() => {
  const canvas = viewer.canvas(%r), rows = Math.min(40, canvas.height);
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, rows).data;
  return [canvas.width, canvas.height, Array.from({ length: canvas.width * rows }, (_, i) => pixels[4 * i])];
})()"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Page]:
    from browser import browser_page

    with browser_page(tmp_path) as page:
        page.size(1300, 900)
        yield page
        assert page.complaints == []


def drawn_number(page: Page, label: str) -> int:
    """Return the frame number in the pixels that the browser drew."""
    width, height, strip = page.value(_STRIP % label)
    picture = np.zeros((height, width), np.uint8)
    picture.reshape(-1)[: len(strip)] = strip
    return read_frame_number(picture)


def frames_at(times: dict[str, np.ndarray], time: float) -> dict[str, int]:
    return {label: int(np.searchsorted(of, time, side="right")) - 1 for label, of in times.items()}


def times_of(folder: Path) -> dict[str, np.ndarray]:
    return {label: np.load(folder / "alf" / f"_ibl_{label}Camera.times.npy") for label in LABELS}


def opened(page: Page, address: str) -> None:
    page.open(address)
    page.wait("window.viewer && viewer.state().isSettled && viewer.state().tracks.length")
    page.wait("document.querySelector('#places button')")


def settle_at(page: Page, time: float) -> None:
    page.value(f"viewer.seek({float(time)!r})")
    page.wait("viewer.state().isSettled")


def test_two_hundred_seeks_show_the_last_frame_of_each_camera_that_is_not_later(
    browser: Page, server: ViewServer, seen_session: Path
) -> None:
    times, draw = times_of(seen_session), random.Random(7)
    opened(browser, server.address)
    start = max(of[0] for of in times.values())
    stop = max(of[-1] for of in times.values())
    for n in range(SEEKS):
        # Half of them exactly on a frame, where a rounded time would show the one before.
        time = draw.uniform(start, stop) if n % 2 else float(draw.choice(times[draw.choice(LABELS)]))
        settle_at(browser, max(time, start))
        wanted = frames_at(times, max(time, start))
        assert browser.value("viewer.state().shown") == wanted
        label = LABELS[n % 3]
        assert drawn_number(browser, label) == wanted[label]


def test_cameras_play_in_step(browser: Page, server: ViewServer, seen_session: Path) -> None:
    times = times_of(seen_session)
    opened(browser, server.address)
    start = max(of[0] for of in times.values())
    settle_at(browser, start)
    browser.value("document.getElementById('play').click()")
    browser.wait(f"viewer.state().time > {float(start) + 1}")
    browser.value("document.getElementById('play').click()")
    browser.wait("viewer.state().isSettled && !viewer.state().isPlaying")
    state = browser.value("viewer.state()")
    assert state["shown"] == frames_at(times, state["time"])
    assert {label: drawn_number(browser, label) for label in LABELS} == state["shown"]


def test_a_click_on_a_failing_check_shows_its_frame(browser: Page, server: ViewServer, seen_session: Path) -> None:
    opened(browser, server.address)
    rows = "[...document.querySelectorAll('#places button')]"
    browser.value(f"{rows}.find(row => row.innerText.includes('frame_intervals')).click()")
    browser.wait("viewer.state().isSettled")
    assert drawn_number(browser, "left") == np.argmax(np.diff(times_of(seen_session)["left"]))


def test_a_click_near_a_pulse_residual_shows_the_frame_of_that_pulse(
    browser: Page, server: ViewServer, view: SessionView
) -> None:
    opened(browser, server.address)
    track = next(track for track in view.tracks if track.name == "right pulse residual")
    place = browser.value(
        """(() => {
          const { left, top, width } = document.getElementById("tracks").getBoundingClientRect();
          const { from, to } = viewer.state(), lane = viewer.laneTop("right pulse residual");
          return { left, top: top + lane + 20, width, from, to };
        })()"""
    )
    pulse = float(track.times_s[len(track.times_s) // 2])
    x = place["left"] + (pulse - place["from"]) / (place["to"] - place["from"]) * place["width"] + 3
    browser.value(f"scrollTo(0, {place['top'] - 300})")
    y = place["top"] - browser.value("scrollY")
    for kind in ("mousePressed", "mouseReleased"):
        browser.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    browser.wait("viewer.state().isSettled")
    assert browser.value("viewer.state().time") in track.times_s.tolist()


def test_keys_step_by_single_frames_of_the_chosen_camera(browser: Page, server: ViewServer, seen_session: Path) -> None:
    opened(browser, server.address)
    browser.value("viewer.seekFrame('left', 100)")
    browser.wait("viewer.state().isSettled")
    for key, expected in (("ArrowRight", 101), ("ArrowRight", 102), ("ArrowLeft", 101)):
        for kind in ("keyDown", "keyUp"):
            browser.send("Input.dispatchKeyEvent", type=kind, key=key)
        browser.wait("viewer.state().isSettled")
        assert drawn_number(browser, "left") == expected


def test_a_verdict_of_the_page_is_in_the_file(browser: Page, server: ViewServer, seen_session: Path) -> None:
    opened(browser, server.address)
    browser.value(
        """(() => {
          const form = document.getElementById("verdict");
          form.by.value = "grace";
          form.reason.value = "seen <b>twice</b>";
          form.querySelector("[value=accept]").click();
        })()"""
    )
    browser.wait("document.getElementById('judged').textContent.includes('grace')")
    last = read_verdicts(Session(seen_session))[-1]
    assert (last.camera, last.decision, last.reason, last.by) == ("left", "accept", "seen <b>twice</b>", "grace")


def test_a_folder_shows_the_same_frames_without_a_server(
    browser: Page, view: SessionView, seen_session: Path, tmp_path: Path
) -> None:
    times, draw = times_of(seen_session), random.Random(3)
    start, stop = float(times["left"][60]), float(times["left"][150])
    page = write_view(view, tmp_path / "out", start, stop)
    opened(browser, page.as_uri())
    for _ in range(20):
        time = draw.uniform(start, stop)
        settle_at(browser, time)
        wanted = frames_at(times, time)
        assert {label: drawn_number(browser, label) for label in LABELS} == wanted
    assert browser.value("viewer.state().tracks.length") == len(view.tracks)
    assert browser.value("document.getElementById('judge').hidden")


@pytest.mark.parametrize(("width", "dark"), [(1300, False), (1300, True), (380, False)])
def test_nothing_is_wider_than_the_window(
    browser: Page, server: ViewServer, tmp_path: Path, width: int, dark: bool
) -> None:
    browser.size(width, 800, dark=dark)
    opened(browser, server.address)
    assert browser.value("document.documentElement.scrollWidth") <= width
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") != dark
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
