"""The run journal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.store.journal import Journal, find_journals, read_journal

EVENTS = st.lists(
    st.dictionaries(st.text(max_size=4).filter(lambda key: key != "v"), st.integers() | st.text(), max_size=3)
)


def unversioned(path: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in event.items() if key != "v"} for event in read_journal(path)]


@given(EVENTS)
def test_events_come_back_in_order(tmp_path_factory: pytest.TempPathFactory, events) -> None:
    folder = tmp_path_factory.mktemp("journal")
    with Journal(folder, "r") as journal:
        for event in events:
            journal.append(event)
    assert unversioned(journal.path) == events
    assert all(event["v"] == 1 for event in read_journal(journal.path))


@given(EVENTS.filter(bool), st.data())
def test_torn_last_line_is_dropped_and_the_others_are_kept(
    tmp_path_factory: pytest.TempPathFactory, events, data
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    with Journal(folder, "r") as journal:
        for event in events:
            journal.append(event)
    whole = journal.path.read_bytes()
    last = len(whole.splitlines()[-1])
    cut = data.draw(st.integers(2, last + 1))
    journal.path.write_bytes(whole[:-cut])
    assert unversioned(journal.path) == events[:-1]


@pytest.mark.parametrize("tail", [b'{"v":1,"a":', bytes(5), bytes(512), b"\xff\xfe", b'{"a":"\xc3'])
def test_journal_goes_on_after_a_torn_line(tmp_path: Path, tail: bytes) -> None:
    with Journal(tmp_path, "r") as journal:
        journal.append({"n": 1})
    with journal.path.open("ab") as file:
        file.write(tail)
    assert unversioned(journal.path) == [{"n": 1}]
    with Journal(tmp_path, "r") as again:
        again.append({"n": 2})
    assert unversioned(journal.path) == [{"n": 1}, {"n": 2}]


def test_event_is_on_disk_before_the_driver_goes_on(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "folder", "r") as journal:
        journal.append({"n": 1})
        assert unversioned(journal.path) == [{"n": 1}]


def test_killed_driver_loses_no_event_it_appended(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from ibl_dask.store.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), 'r')\n"
        "for n in range(20): journal.append({'n': n})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    (path,) = find_journals(tmp_path)
    assert unversioned(path) == [{"n": n} for n in range(20)]


def test_journals_of_a_folder_are_listed_newest_first(tmp_path: Path) -> None:
    for age, run in enumerate(["c", "a", "b"]):
        Journal(tmp_path, run).close()
        os.utime(tmp_path / f"events-{run}.jsonl", (1000 - age, 1000 - age))
    (tmp_path / "other.jsonl").touch()
    assert [path.name for path in find_journals(tmp_path)] == [f"events-{run}.jsonl" for run in "cab"]
    assert find_journals(tmp_path / "nowhere") == []
