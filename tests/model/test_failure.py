"""A failure keeps the five parts of its error through journals, provenance and records of checks."""

from __future__ import annotations

import json
import pickle

import pytest

from ibl_dask.errors import MissingFile, RunError, joined
from ibl_dask.model.failure import Failure
from ibl_dask.store.failures import failure_from

ERROR = MissingFile(
    "the video is missing. It may be on tape",
    where="/data/x.mp4",
    expected="a video, 1 GB. or so",
    got="nothing",
    do="copy it: Got: it",
)


def raised(error: Exception) -> Failure:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001
        return failure_from(caught)


def test_a_failure_keeps_the_parts_of_its_error() -> None:
    failure = failure_from(ERROR)
    assert (failure.kind, failure.category) == ("MissingFile", "missing_input")
    assert failure.what == "the video is missing. It may be on tape."
    assert dict(failure.parts) == {
        "Where": "/data/x.mp4",
        "Expected": "a video, 1 GB. or so",
        "Got": "nothing",
        "What to do": "copy it: Got: it",
    }
    assert failure.message == str(ERROR)


@pytest.mark.parametrize("error", [ERROR, MissingFile("gone"), MissingFile("gone."), RunError("lost", do="run again")])
def test_the_message_of_a_failure_is_that_of_its_error(error: MissingFile | RunError) -> None:
    assert failure_from(error).message == str(error)


def test_notes_follow_the_message() -> None:
    error = RunError("lost", do="run again")
    error.add_note("It was tried 3 times.")
    assert failure_from(error).message == "lost. What to do: run again. It was tried 3 times."
    assert failure_from(error).parts[-1] == ("Note", "It was tried 3 times.")


def test_several_errors_become_one_with_notes() -> None:
    first, second = RunError("one", do="mend it"), RunError("two")
    for _ in range(2):
        assert failure_from(joined([first, second])).message == "one. What to do: mend it. two."
    assert not hasattr(first, "__notes__")


def test_an_unexpected_error_keeps_its_traceback() -> None:
    failure = raised(ZeroDivisionError("division by zero"))
    assert failure.message == "ZeroDivisionError: division by zero"
    assert failure.category == "bug"
    assert "test_failure.py" in failure.traceback
    assert failure.parts == ()


@pytest.mark.parametrize("failure", [failure_from(ERROR), raised(KeyError("x")), Failure("Waiting", "run", "waits")])
def test_json_holds_parts_and_message(failure: Failure) -> None:
    content = json.loads(json.dumps(failure.to_json()))
    assert content["message"] == failure.message
    assert Failure.from_json(content) == failure
    assert pickle.loads(pickle.dumps(failure)) == failure


def test_records_of_earlier_versions_are_read() -> None:
    old = {
        "kind": "NoPulses",
        "category": "missing_input",
        "message": str(ERROR),
        "traceback": "",
        "tasks": ["VideoSyncQcNidq"],
    }
    failure = Failure.from_json(old)
    assert failure.message == failure.what == str(ERROR)
    assert Failure.from_json(failure.to_json()) == failure
