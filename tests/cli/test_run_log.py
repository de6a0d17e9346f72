"""What libraries log goes to the log of the run, and the handlers of the process come back."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from ibl_dask.cli.run_log import RunLog
from ibl_dask.model import events
from ibl_dask.store import output_log

STARTED = events.RunStarted("20230502T081233-4be1f0", ("/s",), "host", 1, 2, "1", 0.0)


@pytest.fixture
def library(capsys):
    """Return the logger of a library that prints its errors itself, as Dask's."""
    logger = logging.getLogger("some_library.part")
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)
    logger.propagate = True


def handlers():
    return {name: list(logging.getLogger(name).handlers) for name in ("", "some_library.part")}


def test_errors_of_libraries_are_in_the_log_and_one_line_tells_of_them(tmp_path, library, capsys):
    before = handlers()
    with RunLog(tmp_path) as log:
        assert log.line() is None
        try:
            raise ValueError("a tab was closed")
        except ValueError:
            library.exception("Exception in callback")
        logging.getLogger("another").warning("by way of the root")
        line = log.line()
    assert handlers() == before
    assert capsys.readouterr().err == ""
    assert line.text == f"1 error of libraries (some_library) in the log: {log.path}"
    text = log.path.read_text()
    for words in ("Z ERROR some_library.part: Exception in callback", "Traceback", "a tab was closed", "by way of the"):
        assert words in text
    library.error("heard again")
    assert "heard again" in capsys.readouterr().err


def test_handlers_that_a_library_sets_up_meanwhile_are_taken_over_too(tmp_path, library, capsys):
    with RunLog(tmp_path) as log:
        handler = logging.StreamHandler(sys.stderr)
        library.addHandler(handler)
        log.take_over()
        library.error("late")
    assert capsys.readouterr().err == ""
    assert log.path.read_text().count("late") == 1
    assert handler in library.handlers
    library.removeHandler(handler)


def test_handlers_of_a_notebook_or_a_test_hear_all_the_same(tmp_path, caplog):
    with RunLog(tmp_path):
        logging.getLogger("another").error("for both")
    assert "for both" in caplog.text


def test_warnings_are_in_the_log_and_shown_again_afterwards(tmp_path):
    before = warnings.showwarning
    with warnings.catch_warnings(), RunLog(tmp_path) as log:
        warnings.simplefilter("always")
        warnings.warn("an old function", stacklevel=1)
    assert warnings.showwarning is before
    assert "an old function" in log.path.read_text()


def test_the_log_has_the_name_of_the_run_and_lies_beside_its_journal(tmp_path, library):
    folder = tmp_path / "runs" / STARTED.run
    folder.mkdir(parents=True)
    with RunLog(tmp_path) as log:
        library.error("before")
        log(STARTED)
        library.error("after")
    assert log.path == folder / f"log-{STARTED.run}.txt"
    assert log.path.read_text().count("ERROR") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_an_empty_log_is_no_file(tmp_path):
    with RunLog(tmp_path / "work"):
        pass
    assert list((tmp_path / "work").iterdir()) == []


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path, library, capsys):
    (tmp_path / "work").write_text("a file in the place of a folder")
    with RunLog(tmp_path / "work") as log:
        log(STARTED)
        library.error("unheard")
        assert log.line() is None
    assert capsys.readouterr().err == ""


def test_a_process_that_the_driver_starts_prints_into_the_log(tmp_path):
    code = (
        "import os, sys; from ibl_dask.store.output_log import redirect_output; redirect_output();"
        "print('out of a worker', flush=True); os.write(2, b'from C code')"
    )
    with RunLog(tmp_path) as log:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert done.stdout + done.stderr == b""
    assert output_log.VARIABLE not in os.environ
    text = log.path.read_text()
    assert "out of a worker" in text
    assert "from C code" in text


def test_a_process_that_only_inherits_the_variable_prints_as_before(tmp_path):
    """As a job that a batch system starts with the environment of its submission."""
    code = "from ibl_dask.store.output_log import redirect_output; redirect_output(); print('here')"
    environment = {**os.environ, output_log.VARIABLE: f"1:{tmp_path / 'log'}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert done.stdout == b"here\n"
    assert not Path(tmp_path / "log").exists()
