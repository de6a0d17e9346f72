"""Adding what each acquisition computer recorded to the description of the session."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest
from acquisition_computers import add, hold, stub

from ibl_dask.errors import DescriptionError, SessionLocked
from ibl_dask.model.description_reader import DESCRIPTION_NAME, read_content
from ibl_dask.store.descriptions import add_device, write_description
from ibl_dask.store.lock import holding

N_COMPUTERS = 12


@pytest.fixture
def session(tmp_path: Path) -> Path:
    folder = tmp_path / "SW_001" / "2023-05-01" / "001"
    folder.mkdir(parents=True)
    return folder


def test_computers_that_report_at_once_lose_nothing(session: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    (session / "_devices").mkdir()
    gate = spawn.Barrier(N_COMPUTERS)
    processes = [spawn.Process(target=add, args=(session, n, gate)) for n in range(N_COMPUTERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0] * N_COMPUTERS
    content = read_content(session / DESCRIPTION_NAME)
    assert sorted(content["devices"]["cameras"]) == [f"camera{n:02}" for n in range(N_COMPUTERS)]
    assert content["projects"] == ["p"]
    assert sorted(path.name for path in session.iterdir()) == [DESCRIPTION_NAME]


def test_a_live_holder_keeps_its_turn_however_long_it_takes(session: Path) -> None:
    lock = session / f".{DESCRIPTION_NAME}.lock"
    with holding(lock):
        long_ago = time.time() - 3600
        os.utime(lock, (long_ago, long_ago))
        with pytest.raises(SessionLocked, match="another computer is writing") as caught:
            add_device(stub(session, 1), session, patience_s=0.3)
        assert lock.exists()
        assert not (session / DESCRIPTION_NAME).exists()
    assert str(os.getpid()) in caught.value.got
    add_device(stub(session, 1), session)
    assert (session / DESCRIPTION_NAME).exists()


def test_a_turn_that_ends_is_waited_for(session: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    holder = spawn.Process(target=hold, args=(session / f".{DESCRIPTION_NAME}.lock", started))
    holder.start()
    assert started.wait(timeout=60)
    add_device(stub(session, 1), session, patience_s=30)
    holder.join(timeout=60)
    assert "camera01" in read_content(session / DESCRIPTION_NAME)["devices"]["cameras"]


def test_the_computer_s_file_goes_once_it_is_added_and_its_folder_with_the_last(session: Path) -> None:
    first, second = stub(session, 1), stub(session, 2)
    add_device(first, session, remove=True)
    assert not first.exists()
    assert second.exists()
    add_device(second, session / DESCRIPTION_NAME, remove=True)
    assert not second.parent.exists()


def test_a_second_main_clock_changes_nothing(session: Path) -> None:
    write_description(session / DESCRIPTION_NAME, {"sync": {"nidq": {}}})
    before = (session / DESCRIPTION_NAME).read_text()
    path = stub(session, 1)
    path.write_text("sync: {bpod: {}}")
    with pytest.raises(DescriptionError, match="main clocks"):
        add_device(path, session, remove=True)
    assert path.exists()
    assert (session / DESCRIPTION_NAME).read_text() == before


def test_an_empty_file_of_a_computer_is_left_alone(session: Path) -> None:
    path = stub(session, 1)
    path.write_text("")
    assert add_device(path, session, remove=True) == {}
    assert path.exists()
    assert not (session / DESCRIPTION_NAME).exists()


def test_what_is_written_is_read_again(session: Path) -> None:
    content = {"projects": ["größe"], "tasks": [{"cw": {"protocol_number": 0}}]}
    write_description(session / DESCRIPTION_NAME, content)
    assert read_content(session / DESCRIPTION_NAME) == {**content, "version": "1.0.0"}
