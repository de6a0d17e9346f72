"""Code of a lab that tries to end the process is an error of that task; people who end a run still do."""

import os
import signal
import subprocess
import sys

import pytest
from program import says

from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline.forecast import forecast
from ibl_dask.pipeline.plan import make_pipeline
from ibl_dask.pipeline.run import run

EXPECTED = {
    "sys.exit": "SystemExit: 7 (sys.exit)",
    "sys.exit with words": "SystemExit: I am done (sys.exit)",
    "KeyboardInterrupt": "KeyboardInterrupt",
    "argparse": "SystemExit: 2 (sys.exit, perhaps of argparse",
    "asyncio": "CancelledError",
}
MODULES = {
    "exits": "import sys\nsys.exit(7)\n",
    "parses": "import argparse\nargparse.ArgumentParser().parse_args(['--unknown'])\n",
    "interrupts": "raise KeyboardInterrupt\n",
}


@pytest.fixture
def session(tmp_path):
    folder = tmp_path / "lab" / "Subjects" / "SW_001" / "2023-05-01" / "001"
    folder.mkdir(parents=True)
    (folder / "_ibl_experiment.description.yaml").write_text("version: 1.0.0\n")
    return folder


def ending(name, **arguments):
    return TaskSpec(name, "ending_steps.Ending", arguments)


def failures_by_task(result):
    """Return what was said of each task that failed."""
    (outcome,) = result.sessions
    failed = [name for name, status in outcome.tasks.items() if str(status) == "Errored"]
    return dict(zip(failed, outcome.failures, strict=True)), [name for name in outcome.tasks if name not in failed]


@pytest.mark.parametrize("when", ["run", "init", "unmet_requirement", "signature"])
def test_a_task_that_ends_the_process_fails_alone_whenever_it_does_so(session, when, capfd):
    specs = [ending(way, way=way, when=when) for way in EXPECTED]
    result = run([session], specs=[*specs, ending("good")])
    assert not result.interrupted
    failed, good = failures_by_task(result)
    assert good == ["good"]
    assert (session / "never.txt").exists()
    assert failed.keys() == EXPECTED.keys()
    for way, failure in failed.items():
        says(failure.message, "tried to end the process", EXPECTED[way], "What to do: raise an exception instead")
    assert result.exit_code == 1


def test_workers_survive_a_task_that_ends_the_process(session, client, capfd):
    before = client.run(os.getpid)
    result = run([session], specs=[*(ending(way, way=way) for way in EXPECTED), ending("good")], client=client)
    failed, good = failures_by_task(result)
    assert (failed.keys(), good) == (EXPECTED.keys(), ["good"])
    assert client.run(os.getpid) == before


def test_a_module_that_ends_the_process_while_it_is_imported_costs_its_tasks_alone(
    session, tmp_path, monkeypatch, capfd
):
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in MODULES.items():
        (tmp_path / f"{name}_at_import.py").write_text(text)
    specs = [TaskSpec(name, f"{name}_at_import.Task") for name in MODULES]
    result = run([session], specs=[*specs, ending("good")])
    failed, good = failures_by_task(result)
    assert (failed.keys(), good) == (MODULES.keys(), ["good"])
    says(failed["exits"].message, "SystemExit: 7")
    says(failed["parses"].message, "argparse")
    says(failed["interrupts"].message, "KeyboardInterrupt")


def test_a_module_that_a_worker_alone_cannot_import_is_an_error_of_its_task(session, tmp_path, monkeypatch, client):
    """Its path is the driver's alone; before, the worker was blamed."""
    monkeypatch.syspath_prepend(tmp_path)
    text = "import ibl_dask\n\n\nclass Local(ibl_dask.Task):\n    def _run(self, **kwargs):\n        return []\n"
    (tmp_path / "of_the_driver.py").write_text(text)
    result = run([session], specs=[TaskSpec("local", "of_the_driver.Local"), ending("good")], client=client)
    failed, good = failures_by_task(result)
    assert good == ["good"]
    says(failed["local"].message, "ModuleNotFoundError", "of_the_driver")


def test_a_plan_survives_tasks_that_end_the_process(session, capfd):
    pipeline = make_pipeline(
        session, specs=[*(ending(way, way=way, when="review") for way in EXPECTED), ending("good")]
    )
    found = {task.task: task for task in forecast(pipeline)}
    assert {task.why for name, task in found.items() if name != "good"} == {"unusable"}
    assert found["good"].runs
    says(found["argparse"].detail, "argparse")


def test_somebody_who_presses_ctrl_c_ends_the_run_and_not_the_task(session):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = run([session], specs=[TaskSpec("interrupted", "ending_steps.Interrupted"), ending("good")])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert result.interrupted
    assert result.exit_code == 130
    assert not (session / "never.txt").exists()


def test_a_handler_of_sigterm_that_exits_ends_the_run():
    """Such handlers are what scripts of batch systems install."""
    code = """
import os, signal, sys
from ibl_dask.store.containment import contained
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
with contained("a task"):
    os.kill(os.getpid(), signal.SIGTERM)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
