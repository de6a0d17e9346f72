"""Changes of one file by several processes."""

import json
import multiprocessing
import time

import pytest
from simple_steps import add_numbers

from ibl_dask.store.file_lock import CHANGES_NAME, changing_records

N = 50


@pytest.mark.parametrize("of_another_user", [False, True])
def test_changes_of_several_processes_are_all_kept_also_where_the_file_may_only_be_read(tmp_path, of_another_user):
    path = tmp_path / "numbers.json"
    path.write_text("[]")
    if of_another_user:
        (tmp_path / CHANGES_NAME).touch(0o444)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_numbers, args=(path, range(N * i, N * (i + 1)))) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(json.loads(path.read_text())) == list(range(3 * N))


def test_a_change_waits_for_one_that_takes_seconds(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_text("[]")
    process = multiprocessing.get_context("spawn").Process(target=add_numbers, args=(path, [1]))
    with changing_records(tmp_path):
        process.start()
        time.sleep(3)
        path.write_text("[0]")
    process.join()
    assert json.loads(path.read_text()) == [0, 1]


def test_without_a_file_to_lock_a_block_runs_all_the_same(tmp_path):
    (tmp_path / CHANGES_NAME).symlink_to("/nowhere")
    with changing_records(tmp_path):
        (tmp_path / "done").touch()
    assert (tmp_path / "done").exists()
    assert (tmp_path / CHANGES_NAME).is_symlink()
