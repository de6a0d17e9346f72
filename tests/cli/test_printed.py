"""What a run prints at its end: it names every fault, and does not grow with what is well."""

import os
import pty
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from made_runs import FAULTS, made_run, seven_kinds, video_is_missing

from ibl_dask.cli.run import print_outcome
from ibl_dask.report.failure_groups import group_failures
from ibl_dask.report.failure_lines import failure_lines
from ibl_dask.report.lines import height

SCREEN = 24
WIDTH = 80
SCRIPT = """
import sys
sys.path.insert(0, {helpers!r})
from made_runs import made_run, seven_kinds
from ibl_dask.cli.run import print_outcome
print_outcome(made_run({root!r}, 1000, seven_kinds(1000)))
"""


def lines_at(text, width=WIDTH):
    """Return the lines of a terminal that folds at the last character."""
    return [part for line in text.rstrip("\n").split("\n") for part in textwrap.wrap(line, width) or [""]]


def test_the_end_of_a_thousand_sessions_fits_on_two_screens_and_names_every_fault(tmp_path, capsys):
    print_outcome(made_run(tmp_path, 1000, seven_kinds(1000)))
    text = capsys.readouterr().out
    assert len(lines_at(text)) <= 2 * SCREEN
    for words in FAULTS:
        assert words in text
    assert "1,000 sessions, 100 failed, 900 done" in text
    assert "1,000 sessions wait" in text
    assert "95 more sessions: ibl-dask status --failed" in text


def test_so_it_does_in_a_terminal_of_80_columns(tmp_path):
    helpers = str(Path(__file__).parents[1] / "helpers")
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    script = SCRIPT.format(helpers=helpers, root=str(tmp_path))
    command = ["sh", "-c", f'stty cols {WIDTH} rows {SCREEN}; exec "$@"', "sh", sys.executable, "-c", script]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    content = b""
    try:
        while part := os.read(ours, 65536):
            content += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0, content.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", content.decode()).replace("\r\n", "\n")
    assert sum(max(1, -(-len(line) // WIDTH)) for line in text.rstrip("\n").split("\n")) <= 2 * SCREEN
    assert all(len(line) <= WIDTH or len(line.split()) == 1 for line in text.split("\n")), "only paths are longer"
    for words in FAULTS:
        assert words in " ".join(text.split())


def test_of_twelve_sessions_the_one_that_lacks_a_file_comes_first(tmp_path, capsys):
    print_outcome(made_run(tmp_path, 12, {5: video_is_missing(5)}))
    text = capsys.readouterr().out
    assert len(lines_at(text)) < 30
    assert text.splitlines()[1].startswith("[1] SW_0005/2023-05-01/001: the right camera has no video")
    for words in ("where: ", "expected: ", "got: ", "what to do: copy it from the acquisition computer"):
        assert words in text
    assert text.count("no environment 'ibllib' is known") == 1
    assert text.count("no environment 'dlc' is known") == 1


def test_sessions_that_are_well_add_no_line(tmp_path, capsys):
    lengths = []
    for n in (20, 2000):
        print_outcome(made_run(tmp_path / str(n), n, {5: video_is_missing(5)}))
        lengths.append(len(capsys.readouterr().out.splitlines()))
    assert lengths[0] == lengths[1]


def test_a_run_of_several_sessions_leaves_one_page_with_all_of_them(tmp_path, capsys):
    result = made_run(tmp_path, 60, seven_kinds(60))
    print_outcome(result)
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.startswith("report: ")]
    page = Path(line.removeprefix("report: "))
    assert page.parent == result.journal
    content = page.read_text()
    assert all(f"SW_{n:04}/2023-05-01/001" in content for n in range(60))
    assert content.index("no video") < content.index("SW_0059")


def test_a_page_that_cannot_be_written_costs_a_line(tmp_path, capsys):
    result = made_run(tmp_path, 6, {})
    result.journal = tmp_path / "a file"
    result.journal.touch()
    print_outcome(result)
    assert "the page on all sessions could not be written" in capsys.readouterr().out


@pytest.mark.parametrize("most_lines", [3, 10, 25, 60])
@pytest.mark.parametrize("width", [40, 80, 160])
def test_failures_keep_to_the_room_that_they_are_given(most_lines, width):
    rows = [
        {"session": f"S/2020-01-01/{n:03}", "failures": [f], "state": "failed"} for n, f in seven_kinds(140).items()
    ]
    groups = group_failures(rows)
    lines = failure_lines(groups, width, most_lines, 140)
    assert height(lines, width) <= most_lines
    n_named = sum(line.text.startswith("[") for line in lines)
    assert n_named == len(groups) or f"{len(groups) - n_named} more kind" in lines[-1].text
