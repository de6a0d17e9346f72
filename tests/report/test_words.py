import doctest

import pytest

from ibl_dask.errors import MissingFile
from ibl_dask.report import axes, findings, messages, quantities
from ibl_dask.report.messages import take_apart
from ibl_dask.report.palette import look_of


def test_a_message_of_ours_comes_apart_into_what_it_was_made_of():
    error = MissingFile(
        "the video is not there. It may be on tape",
        where="/data/x.mp4",
        expected="a video, 1 GB. or so",
        got="nothing",
        do="copy it: Got: it",
    )
    told = take_apart(str(error))
    assert told.what == "the video is not there. It may be on tape."
    assert dict(told.parts) == {
        "Where": "/data/x.mp4",
        "Expected": "a video, 1 GB. or so",
        "Got": "nothing",
        "What to do": "copy it: Got: it",
    }


def test_another_message_is_all_what():
    assert take_apart("ZeroDivisionError: division by zero").parts == ()
    assert take_apart(None).what == ""


def test_an_unknown_word_looks_neutral():
    assert look_of("no such outcome") == look_of("NOT_SET")


@pytest.mark.parametrize("module", [axes, findings, messages, quantities])
def test_examples_in_docstrings_hold(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
