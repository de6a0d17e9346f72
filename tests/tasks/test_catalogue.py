"""The catalogue of the field's tasks: each row stands for one class."""

import pytest

from ibl_dask.tasks.catalogue import _ROWS, FIELD_TASKS, environment_of, find_row, native_rows
from ibl_dask.tasks.registry import find_task, is_native
from ibl_dask.tasks.video_task import VideoTask


def test_every_class_has_one_row():
    assert len(FIELD_TASKS) == len(_ROWS)
    assert all(find_row(row.executable) is row for row in _ROWS)


@pytest.mark.parametrize("row", native_rows(), ids=lambda row: row.name)
def test_the_class_of_a_row_is_one_of_this_package_with_its_name(row):
    cls = find_task(row.executable)
    assert cls is find_task(row.native)
    assert (cls.__name__, is_native(cls), issubclass(cls, VideoTask)) == (row.name, True, True)
    assert (cls.priority, cls.io_charge, cls.job_size) == (row.priority, row.io_charge, row.job_size)


def test_a_class_of_the_field_that_is_not_native_belongs_to_another_environment():
    for row in _ROWS:
        if row.native is None:
            assert find_task(row.executable) is None
            assert environment_of(row.executable) == (row.env or "ibllib")
