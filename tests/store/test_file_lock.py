"""Changes of one file by several processes."""

import json
import multiprocessing
import time

from simple_steps import add_numbers

from ibl_dask.store.file_lock import locked_by

N = 50


def test_changes_of_several_processes_are_all_kept(tmp_path):
    path, lock = tmp_path / "numbers.json", tmp_path / "lock"
    path.write_text("[]")
    lock.write_text("held by a driver")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_numbers, args=(path, lock, range(N * i, N * (i + 1)))) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(json.loads(path.read_text())) == list(range(3 * N))
    assert lock.read_text() == "held by a driver"


def test_a_change_waits_for_one_that_takes_seconds(tmp_path):
    path, lock = tmp_path / "numbers.json", tmp_path / "lock"
    path.write_text("[]")
    lock.touch()
    process = multiprocessing.get_context("spawn").Process(target=add_numbers, args=(path, lock, [1]))
    with locked_by(lock):
        process.start()
        time.sleep(3)
        path.write_text("[0]")
    process.join()
    assert json.loads(path.read_text()) == [0, 1]


def test_without_the_file_a_block_runs_all_the_same(tmp_path):
    with locked_by(tmp_path / "absent"):
        (tmp_path / "done").touch()
    assert (tmp_path / "done").exists()
    assert not (tmp_path / "absent").exists()
