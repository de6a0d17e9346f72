import doctest

import pytest

from ibl_dask.report import axes, check_rows, quantities
from ibl_dask.report.palette import look_of


def test_an_unknown_word_looks_neutral():
    assert look_of("no such outcome") == look_of("NOT_SET")


@pytest.mark.parametrize("module", [axes, check_rows, quantities])
def test_examples_in_docstrings_hold(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
