"""Errors cross process borders and keep what they say."""

from __future__ import annotations

import pickle

import pytest

from ibl_dask import errors

CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.IblDaskError)
]
FIVE = ("pulses are missing", "/data/x.npy", "100 pulses", "97", "run the check")


@pytest.mark.parametrize("kind", CLASSES)
def test_error_says_all_five_things_before_and_after_pickling(kind: type[errors.IblDaskError]) -> None:
    error = kind(*FIVE)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    for each in (error, again):
        assert (each.what, each.where, each.expected, each.got, each.do) == FIVE
        assert str(each) == (
            "pulses are missing. Where: /data/x.npy. Expected: 100 pulses. Got: 97. What to do: run the check."
        )


@pytest.mark.parametrize("kind", CLASSES)
def test_error_leaves_out_what_was_not_given(kind: type[errors.IblDaskError]) -> None:
    assert str(kind("it broke.")) == "it broke."
    assert str(pickle.loads(pickle.dumps(kind("it broke", got="7")))) == "it broke. Got: 7."


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_says_who_can_mend_it(kind: type[errors.IblDaskError]) -> None:
    assert kind.category in errors.CATEGORIES


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.MissingFile, FileNotFoundError),
        (errors.MissingFile, ValueError),
        (errors.NotASession, ValueError),
        (errors.NotWritable, OSError),
        (errors.SessionLocked, RuntimeError),
        (errors.TaskTimedOut, TimeoutError),
        (errors.UsageError, ValueError),
    ],
)
def test_error_can_be_caught_as_the_builtin_it_is(
    kind: type[errors.IblDaskError], builtin: type[BaseException]
) -> None:
    with pytest.raises(builtin, match="pulses are missing"):
        raise kind(*FIVE)
