from html.parser import HTMLParser

from ibl_dask.model.failure import Failure
from ibl_dask.model.step import Resources
from ibl_dask.model.task import TaskSpec
from ibl_dask.report.notebook import Page, pipeline_html, run_html, session_html

HOSTILE = "<script>alert(1)</script>"
ROW = {
    "session": "a/2020-01-01/001",
    "tasks": {"VideoSyncQcNidq": "Errored"},
    "qc": {"left": "FAIL"},
    "chunks_done": 3,
    "chunks_kept": 2,
    "failures": [Failure("NoPulses", "input", "no pulses.", "left camera", do="check the cable")],
    "report": "/results of mine/report.html",
}


def text_of(page: str) -> str:
    words: list[str] = []
    parser = HTMLParser()
    parser.handle_data = words.append
    parser.feed(page)
    return " ".join(" ".join(words).split())


def test_a_session_shows_its_cameras():
    text = text_of(session_html("a/2020-01-01/001", "/s", [{"camera": "left", "timed": "no"}, {"camera": "right"}]))
    assert "Session a/2020-01-01/001 /s camera timed left no right" in text


def test_a_session_without_cameras_says_so():
    assert "no camera is described" in session_html("a", "/s", [])


def test_a_pipeline_shows_tasks_parents_resources_and_notes():
    specs = (
        TaskSpec("VideoRegisterRaw", "x.VideoRegisterRaw", {"cameras": ("left", "right")}),
        TaskSpec("VideoPose", "x.VideoPose", parents=("VideoRegisterRaw",), resources=Resources(4, 1, 8.0)),
    )
    text = text_of(pipeline_html("a/2020-01-01/001", specs, ("no frame times",)))
    for words in ("left, right", "VideoPose VideoRegisterRaw 4 cores, 1 GPU, 8 GB", "1 core, 1 GB", "no frame times"):
        assert words in text
    assert "no task runs" in pipeline_html("a", ())


def test_a_run_shows_failures_and_links_to_reports():
    page = run_html([ROW, {"session": "b"}])
    assert 'href="file:///results%20of%20mine/report.html"' in page
    text = text_of(page)
    for words in ("5, 2 kept", "no pulses. left camera → check the cable", "✕ Errored", "✕ FAIL"):
        assert words in text
    assert "no session was run" in run_html([])


def test_paths_below_the_working_folder_are_relative_so_that_a_notebook_server_opens_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "my data" / "report.html"
    assert 'href="my%20data/report.html"' in run_html([{**ROW, "report": str(report)}])
    assert text_of(session_html("a", str(report.parent), [])).startswith("Session a my data no camera")


def test_a_page_below_the_working_folder_has_a_relative_link(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report.html").write_text("<p>fine</p>")
    page = Page(tmp_path / "report.html")._repr_html_()
    assert 'href="report.html"' in page
    assert str(tmp_path) not in page


def test_hostile_words_are_escaped():
    spec = TaskSpec(HOSTILE, "x", {"cameras": (HOSTILE,)}, (HOSTILE,))
    row = {
        "session": HOSTILE,
        "tasks": {HOSTILE: HOSTILE},
        "qc": {HOSTILE: HOSTILE},
        "failures": [Failure(*[HOSTILE] * 7)],
    }
    pages = (
        session_html(HOSTILE, HOSTILE, [{HOSTILE: HOSTILE}]),
        pipeline_html(HOSTILE, (spec,), (HOSTILE,)),
        run_html([{**row, "report": HOSTILE}, {**row, "report": "/" + HOSTILE}]),
    )
    for page in pages:
        assert "<script" not in page
