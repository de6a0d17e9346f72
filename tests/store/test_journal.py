"""The run journal: events in segments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.store import journal as journal_module
from ibl_dask.store.journal import START, Journal, Place, find_segments, read_journal, segment_file

EVENTS = st.lists(
    st.dictionaries(st.text(max_size=4).filter(lambda key: key != "v"), st.integers() | st.text(), max_size=3)
)
SMALL = 200
"""Length of a segment in these tests, bytes."""


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", SMALL)


def unversioned(path: Path, start: Place = START, stop: Place | None = None) -> list[dict[str, object]]:
    return [{key: value for key, value in event.items() if key != "v"} for event in read_journal(path, start, stop)]


@given(EVENTS, st.data())
def test_events_come_back_in_order_from_any_place_to_any_other(tmp_path_factory, events, data) -> None:
    folder = tmp_path_factory.mktemp("journal")
    with Journal(folder) as journal:
        places = [journal.place]
        for event in events:
            journal.append(event)
            places.append(journal.place)
    assert unversioned(folder) == events
    start = data.draw(st.integers(0, len(events)))
    stop = data.draw(st.integers(start, len(events)))
    assert unversioned(folder, places[start], places[stop]) == events[start:stop]


@given(EVENTS.filter(bool), st.data())
def test_torn_last_line_is_dropped_and_the_others_are_kept(tmp_path_factory, events, data) -> None:
    folder = tmp_path_factory.mktemp("journal")
    with Journal(folder) as journal:
        for event in events:
            journal.append(event)
    last = max(find_segments(folder).items())[1]
    whole = last.read_bytes()
    cut = data.draw(st.integers(2, len(whole.splitlines()[-1]) + 1))
    last.write_bytes(whole[:-cut])
    assert unversioned(folder) == events[:-1]


def test_a_long_journal_lies_in_segments_of_which_older_ones_are_compressed(tmp_path: Path) -> None:
    events = [{"n": n, "text": "x" * 50} for n in range(40)]
    with Journal(tmp_path) as journal:
        for event in events:
            journal.append(event)
    segments = find_segments(tmp_path)
    assert [*segments] == [*range(len(segments))]
    assert len(segments) > 8
    suffixes = [path.suffix for path in segments.values()]
    assert suffixes[0] == ".gz"
    assert suffixes[-1] == suffixes[-2] == ".jsonl"
    assert unversioned(tmp_path) == events
    assert not list(tmp_path.glob(".*")), "no temporary file is left"
    with Journal(tmp_path) as again:
        again.append({"n": 40})
    assert unversioned(tmp_path) == [*events, {"n": 40}]


def test_a_segment_that_was_being_compressed_when_the_driver_was_killed_counts_once(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for n in range(3):
            journal.append({"n": n})
    plain = segment_file(tmp_path, 0)
    content = plain.read_bytes()
    journal_module.compress_segments(tmp_path, 0)
    assert not plain.exists()
    plain.write_bytes(content)
    assert unversioned(tmp_path) == [{"n": n} for n in range(3)]
    plain.unlink()
    packed = tmp_path / f"{plain.name}.gz"
    packed.write_bytes(packed.read_bytes()[:-12])
    with Journal(tmp_path) as journal:  # what is left of a damaged segment stops nothing
        journal.append({"n": 3})
    assert unversioned(tmp_path)[-1] == {"n": 3}


@pytest.mark.parametrize("tail", [b'{"v":1,"a":', bytes(5), bytes(512), b"\xff\xfe", b'{"a":"\xc3'])
def test_journal_goes_on_after_a_torn_line(tmp_path: Path, tail: bytes) -> None:
    with Journal(tmp_path) as journal:
        journal.append({"n": 1})
    with segment_file(tmp_path, 0).open("ab") as file:
        file.write(tail)
    assert unversioned(tmp_path) == [{"n": 1}]
    with Journal(tmp_path) as again:
        again.append({"n": 2})
        again.append({"n": 3})
    assert unversioned(tmp_path) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_event_can_be_read_before_the_driver_goes_on(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "folder") as journal:
        journal.append({"event": "StepFinished", "n": 1})
        journal.append({"event": "StepFinished", "n": 2})
        assert [event["n"] for event in unversioned(journal.folder)] == [1, 2]


def test_steps_are_put_on_disk_together_and_the_end_of_a_task_at_once(tmp_path: Path, monkeypatch) -> None:
    plain, synced = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), plain(handle))[1])
    monkeypatch.setattr(journal_module, "SYNC_S", 3600.0)
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 10**6)
    with Journal(tmp_path) as journal:
        journal.append({"event": "RunStarted"})
        before = len(synced)
        for n in range(100):
            journal.append({"event": "StepFinished", "n": n})
        assert len(synced) == before
        journal.append({"event": "TaskFinished"})
        assert len(synced) == before + 1
        journal.append({"event": "StepFinished"})
        journal.sync()
        assert len(synced) == before + 2


def test_killed_driver_loses_no_event_it_appended(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from ibl_dask.store.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for n in range(20): journal.append({'event': 'StepFinished', 'n': n})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert [event["n"] for event in read_journal(tmp_path)] == [*range(20)]


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 60))
def test_a_disk_that_refuses_some_writes_and_syncs_loses_no_line_and_doubles_none(
    tmp_path_factory, refused, n_taken
) -> None:
    """Whatever is refused, half of a line may have been written before."""
    folder, answers = tmp_path_factory.mktemp("journal"), iter(refused)
    plain_write, plain_sync = os.pwrite, os.fsync

    def write(handle, content, place):
        if next(answers, False):
            plain_write(handle, content[:n_taken], place)
            raise OSError(28, "No space left on device")
        return plain_write(handle, content[: max(1, n_taken)], place)

    def sync(handle):
        if next(answers, False):
            raise OSError(116, "Stale file handle")
        plain_sync(handle)

    with pytest.MonkeyPatch.context() as patch, Journal(folder) as journal:
        patch.setattr(os, "pwrite", write)
        patch.setattr(os, "fsync", sync)
        patch.setattr("ibl_dask.store.disk.RETRY_PAUSES_S", ())
        for n in range(12):
            journal.append({"n": n, "event": "StepFinished" if n % 3 else "TaskFinished"})
        while next(answers, None) is not None:
            pass
        journal.append({"n": 12})
        assert journal.failure is None
    assert [event["n"] for event in read_journal(folder)] == [*range(13)]
