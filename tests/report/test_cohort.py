"""The page on a run: every session and camera, failing ones first, and what to do."""

from __future__ import annotations

import re
from html import unescape

from ibl_dask.model.failure import Failure
from ibl_dask.report.cohort import N_BINS, CohortContent, CohortSession, draw_throughput, render_cohort

FAILURE = Failure("NoPulses", "missing_input", "no pulses", where="left camera", got="0 pulses", do="check the cable")
HOSTILE = '"><script>alert(1)</script>'


def session(k: int, *, is_bad: bool = False, **fields) -> CohortSession:
    row = {
        "session": f"SW_{k % 40:03}/2023-05-{1 + k % 28:02}/{1 + k // 1120:03}",
        "path": f"/data/{k}",
        "state": "failed" if is_bad else "done",
        "tasks": {"VideoCompress": "Complete", "VideoSyncQC_nidq": "Errored" if is_bad else "Complete"},
        "qc": {"left": "FAIL" if is_bad else "PASS", "right": "PASS"},
        "failures": [FAILURE] if is_bad else [],
        "report": f"/data/{k}/ibl_dask/report.html",
    }
    times = {"ended_s": 1.7e9 + 60 * k, "seconds": 30.0 + k % 7, "core_s": 90.0}
    return CohortSession(row=row, failing={"left": ["framerate"]} if is_bad else {}, **{**times, **fields})


def content(sessions, name="20230502T081233-4be1f0") -> CohortContent:
    return CohortContent(name, (("host", "node1"),), sessions, 1.7e9 - 60, {"framepass": (10, 120.0)})


def rows_of(page: str) -> list[dict[str, str]]:
    heads = re.findall(r"<tr(?: hidden)? (data-session=[^>]*)>", page)
    return [{key: unescape(value) for key, value in re.findall(r'data-(\w+)="([^"]*)"', head)} for head in heads]


def test_there_is_a_row_per_session_and_camera_and_those_that_need_someone_come_first():
    page = render_cohort(content([session(k, is_bad=k in (17, 230)) for k in range(300)]))
    rows = rows_of(page)
    assert len(rows) == 600
    first = [(row["session"], row["camera"]) for row in rows[:4]]
    bad = [session(k).row["session"] for k in (17, 230)]
    assert set(first) == {(name, camera) for name in bad for camera in ("left", "right")}
    assert rows[0]["outcome"] == "FAIL"
    for words in ("framerate", "no pulses", "0 pulses", "check the cable", "2 sessions · missing input"):
        assert words in page


def test_the_page_is_whole_asks_for_nothing_and_shows_all_without_its_script():
    page = render_cohort(content([session(1), session(2, is_bad=True)]))
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "http" not in page
    without = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert all(each.row["session"] in without for each in (session(1), session(2)))


def test_hostile_words_are_escaped():
    row = {
        "session": HOSTILE,
        "state": HOSTILE,
        "tasks": {HOSTILE: HOSTILE},
        "qc": {HOSTILE: HOSTILE},
        "failures": [Failure(*[HOSTILE] * 7)],
        "report": "/" + HOSTILE,
    }
    hostile = CohortSession(row, failing={HOSTILE: [HOSTILE]})
    page = render_cohort(CohortContent(HOSTILE, ((HOSTILE, HOSTILE),), [hostile], kinds={HOSTILE: (1, 1.0)}))
    assert page.count("<script") == 1
    assert "alert(1)</script>" not in page


def test_a_session_without_cameras_or_times_has_its_row():
    page = render_cohort(CohortContent("run", (), [CohortSession({"session": "a/2023-01-01/001", "state": "failed"})]))
    assert [row["session"] for row in rows_of(page)] == ["a/2023-01-01/001"]
    assert "<svg" not in page


def test_bars_of_the_throughput_add_up_to_the_sessions_that_ended():
    sessions = [session(k, is_bad=k % 10 == 0) for k in range(200)]
    drawn = draw_throughput(content(sessions))
    heights = {kind: re.findall(rf'height="([\d.]+)" class="{kind}"', drawn) for kind in ("bar", "bar off")}
    highest = max(map(float, heights["bar"] + heights["bar off"]))
    assert len(heights["bar"]) <= N_BINS
    assert "200 sessions ended" in drawn
    assert highest <= 110
    assert len(heights["bar off"]) == 20


def test_a_page_of_2000_sessions_has_less_than_4_mb():
    assert len(render_cohort(content([session(k, is_bad=k % 50 == 0) for k in range(2000)]))) < 4e6
