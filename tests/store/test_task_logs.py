"""Log files of tasks: whole records from many processes, bounded, in numbered attempts, merged by time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.model.task_log import TaskLog
from ibl_dask.store import task_logs
from ibl_dask.store.task_log_reader import (
    Reading,
    find_attempts,
    find_logs,
    last_words,
    read_attempt,
    remove_old_attempts,
    title_of,
)
from ibl_dask.store.task_logs import LogWriter, format_record, next_attempt

WRITE_MANY = """
import sys
from pathlib import Path
from ibl_dask.model.task_log import TaskLog
from ibl_dask.store.task_logs import LogWriter, format_record
log = TaskLog(Path(sys.argv[1]), "Count", 1, most_bytes=int(sys.argv[3]))
writer = LogWriter(log)
sys.stdin.readline()
for n in range(1500):
    text = f"{sys.argv[2]} {n} {'x' * (n % 200)}\\nmore of {sys.argv[2]}"
    assert writer.append(format_record(log, "INFO", "step", text))
"""


def log_in(folder, attempt=1, **more) -> TaskLog:
    return TaskLog(Path(folder) / "Count", "Count", attempt, "a-run", "lab.tasks.Count", **more)


def write(log, *texts, at_s=None, level="INFO"):
    writer = LogWriter(log)
    for n, text in enumerate(texts):
        assert writer.append(format_record(log, level, "step", text, None if at_s is None else at_s + n))
    writer.close()


def text_of(folder, number=None):
    attempts = find_attempts(folder / "Count")
    (attempt,) = [each for each in attempts if number in (None, each.number)][-1:]
    return "".join(read_attempt(attempt))


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*.log"))


def write_from_two_processes(folder, most_bytes):
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE_MANY, str(folder / "Count"), name, str(most_bytes)], stdin=subprocess.PIPE
        )
        for name in ("one", "two")
    ]
    for program in programs:  # both have imported what they need before either begins
        program.stdin.write(b"go\n")
        program.stdin.flush()
    assert [program.wait(60) for program in programs] == [0, 0]
    for program in programs:
        program.stdin.close()


def test_records_of_two_processes_in_one_file_are_whole_and_each_in_order(tmp_path):
    write_from_two_processes(tmp_path, 20_000_000)
    (path,) = (tmp_path / "Count").iterdir()
    title, *records = text_of(tmp_path).splitlines()
    assert "attempt 1 of Count" in title
    assert len(records) == 2 * 2 * 1500
    for first, second in zip(records[::2], records[1::2], strict=True):
        name, n, filling = first.split(" #1 ")[1].split(" ")
        assert (filling, second) == ("x" * (int(n) % 200), f"    more of {name}")
    for name in ("one", "two"):
        numbers = [int(line.split(" ")[-2]) for line in path.read_text().splitlines() if f" {name} " in line]
        assert numbers == list(range(1500))


def test_a_long_log_of_two_processes_keeps_beginning_and_end_within_the_limit(tmp_path):
    write_from_two_processes(tmp_path, 100_000)
    assert size_of(tmp_path) <= 100_000 + 2_000  # each process may pass a limit by a record
    text = text_of(tmp_path)
    for expected in ("attempt 1 of Count", "(one|two) 0 ", "(one|two) 1499 ", "longer than 50,000 bytes"):
        assert re.search(expected, text), expected
    assert " one 750 " not in text


@given(
    sizes=st.lists(st.integers(0, 900), min_size=1, max_size=120),
    most=st.integers(4_000, 40_000),
)
def test_whatever_is_written_the_first_and_the_last_record_stay_and_the_limit_holds(tmp_path_factory, sizes, most):
    folder = tmp_path_factory.mktemp("log")
    write(log_in(folder, most_bytes=most), *(f"<{n}> {'x' * size}" for n, size in enumerate(sizes)))
    assert size_of(folder) <= most + 2 * 1_200
    text = text_of(folder)
    assert "<0>" in text
    assert f"<{len(sizes) - 1}>" in text
    if sum(sizes) + 100 * len(sizes) + 500 < most // 2:
        assert all(f"<{n}>" in text for n in range(len(sizes)))


@given(
    text=st.text(st.characters(codec=None, exclude_categories=()), max_size=200)
    | st.text(alphabet="a\r\n\t\x1b[31m \x00\u2028é😀", max_size=60)
)
def test_any_text_is_one_record_that_reads_as_text(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("log")
    write(log_in(folder), "before", text, "after")
    records = list(read_attempt(find_attempts(folder / "Count")[0]))
    assert [record.rstrip("\n").split(" #1 ")[-1] for record in (records[1], records[3])] == ["before", "after"]
    assert len(records) == 4
    assert all(letter.isprintable() or letter in "\n\t\u2028\u2029" or ord(letter) > 0x9F for letter in records[2])


def test_a_line_tells_when_where_which_step_and_which_trial(tmp_path):
    log = log_in(tmp_path, attempt=3)
    assert format_record(log, "INFO", "framepass-left/17", "one\ntwo\n", 1767225600.0125) == (
        f"2026-01-01T00:00:00.012Z INFO    {os.uname().nodename}:{os.getpid()} framepass-left/17 #3 one\n    two\n"
    )
    again = TaskLog(log.folder, "Count", 3, trial=2)
    assert " #3.2 one" in format_record(again, "INFO", "step", "one")
    session = tmp_path / "my lab" / "S" / "2026-01-01" / "001"
    quoted = TaskLog(session / "ibl_dask" / "logs" / "Count", "Count", 1).command
    assert quoted == f"ibl-dask logs '{session}' Count"


def test_a_very_long_message_keeps_its_beginning_and_end(tmp_path):
    record = format_record(log_in(tmp_path), "ERROR", "step", f"first {'x' * 5_000_000} last")
    assert len(record) < 101_000
    assert "first x" in record
    assert record.endswith("x last\n")
    assert "4,900,011 characters are left out" in record


def test_attempts_are_numbered_on_and_the_last_ten_are_kept_and_the_longest(tmp_path):
    folder = tmp_path / "Count"
    assert next_attempt(folder) == 1
    for number in range(1, 14):
        assert next_attempt(folder) == number
        write(log_in(tmp_path, number), f"in {number}", *["much was done"] * (number == 2))
        remove_old_attempts(folder)
    assert [attempt.number for attempt in find_attempts(folder)] == [2, *range(4, 14)]
    assert "in 7\n" in text_of(tmp_path, 7)


def test_records_of_several_hosts_are_merged_by_time(tmp_path, monkeypatch):
    log = log_in(tmp_path)
    for place, at_s in (("node1-aaaaaa", 3e9), ("node2-bbbbbb", 3e9 + 0.5), ("node1-cccccc", 3e9 + 0.25)):
        monkeypatch.setattr(task_logs, "_place", lambda place=place: place)
        write(log, *(f"{place} {n}\nand more" for n in range(3)), at_s=at_s)
    records = [record.split(" #1 ")[1] for record in read_attempt(find_attempts(tmp_path / "Count")[0])]
    places = ("node1-aaaaaa", "node1-cccccc", "node2-bbbbbb")
    expected = [f"{place} {n}\n    and more\n" for n in range(3) for place in places]
    assert [record for record in records if record.startswith("node")] == expected
    assert len(list((tmp_path / "Count").iterdir())) == 3


def test_the_end_of_an_attempt_is_found_without_its_records(tmp_path):
    write(log_in(tmp_path), "x" * 90_000, "ended: Errored; steps: 1 failed\nof a bug", at_s=1e9)
    write(log_in(tmp_path, 2), "at work", at_s=2e9)
    first, second = map(last_words, find_attempts(tmp_path / "Count"))
    assert (first.status, first.text) == ("Errored", "ended: Errored; steps: 1 failed")
    assert (second.status, second.text, second.time) == ("", "at work", "2033-05-18T03:33:20.000Z")
    assert list(find_logs(tmp_path)) == ["Count"]
    assert title_of(find_attempts(tmp_path / "Count")[0]) == ("Count", "Count")


def test_a_reader_that_follows_gets_every_record_once_also_when_files_are_renamed(tmp_path):
    log = log_in(tmp_path, most_bytes=16_000)
    reading, got = Reading(), []
    writer = LogWriter(log)
    for n in range(500):
        writer.append(format_record(log, "INFO", "step", f"<{n}>"))
        if n % 5 == 0:
            got += reading.more(find_attempts(log.folder)[0])
    got += reading.more(find_attempts(log.folder)[0])
    assert [int(record.split("<")[1].split(">")[0]) for record in got if "<" in record] == list(range(500))


def test_damaged_lines_cost_nothing_else(tmp_path):
    write(log_in(tmp_path), "before")
    (path,) = (tmp_path / "Count").iterdir()
    with path.open("ab") as file:
        file.write(b"\xff\xfe torn")
    write(log_in(tmp_path), "after")
    (tmp_path / "Count" / "notes.txt").write_text("of another program")
    (tmp_path / "Count" / "001-x.log.gz").mkdir()
    text = text_of(tmp_path)
    assert "before\n" in text
    assert "after\n" in text


@pytest.mark.parametrize("obstacle", ["file", "link", "folder"])
def test_where_a_log_cannot_be_written_nothing_is_raised_and_nothing_else_is_touched(tmp_path, obstacle):
    log = log_in(tmp_path)
    other = tmp_path / "of another"
    other.write_text("precious")
    writer = LogWriter(log)
    if obstacle == "file":
        log.folder.write_text("a file in the place of a folder")
    else:
        log.folder.mkdir()
        writer.path.symlink_to(other) if obstacle == "link" else writer.path.mkdir()
    assert not writer.append("lost\n")
    writer.close()
    assert other.read_text() == "precious"
