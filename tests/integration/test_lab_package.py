"""A lab's own tasks in a package of its own, really installed, on workers of a cluster."""

import json
import os
import subprocess
import sys
from textwrap import dedent

import pytest

BACKEND = """
import zipfile

NAME = "lab_tasks-0.1"
FILES = {
    "METADATA": "Metadata-Version: 2.1\\nName: lab-tasks\\nVersion: 0.1\\n",
    "WHEEL": "Wheel-Version: 1.0\\nGenerator: here\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "entry_points.txt": "[ibl_dask.tasks]\\nCountFrames = lab_tasks.tasks:CountFrames\\n",
}


def build_wheel(folder, config_settings=None, metadata_directory=None):
    wheel = f"{NAME}-py3-none-any.whl"
    modules = {f"lab_tasks/{name}": open(f"lab_tasks/{name}").read() for name in ("__init__.py", "tasks.py")}
    content = {**modules, **{f"{NAME}.dist-info/{name}": text for name, text in FILES.items()}}
    listing = "".join(f"{name},,\\n" for name in [*content, f"{NAME}.dist-info/RECORD"])
    with zipfile.ZipFile(f"{folder}/{wheel}", "w") as file:
        for name, text in {**content, f"{NAME}.dist-info/RECORD": listing}.items():
            file.writestr(name, text)
    return wheel
"""
TASKS = '''
import logging
import os

import numpy as np
from ibl_dask import DynamicTask

_log = logging.getLogger(__name__)


class CountFrames(DynamicTask):
    """Notes how many frames each camera was timed for."""

    priority = 20
    cpu = 2
    ram = 0.5

    def __init__(self, session_path, suffix="txt", **kwargs):
        super().__init__(session_path, suffix=suffix, **kwargs)
        self.suffix = suffix

    @property
    def signature(self):
        return {
            "input_files": [("_ibl_*Camera.times.npy", "alf", True)],
            "output_files": [(f"lab.frames.{self.suffix}", "alf", True)],
        }

    def _run(self, overwrite=False):
        times = sorted((self.session_path / "alf").glob("_ibl_*Camera.times.npy"))
        out = self.session_path / "alf" / f"lab.frames.{self.suffix}"
        _log.info("on %s by %s", self.sync, os.getpid())
        out.write_text(" ".join(f"{path.name.split('_')[2].split('Camera')[0]}:{len(np.load(path))}" for path in times))
        return [out]


class Breaks(DynamicTask):
    def _run(self):
        _log.info("about to break")
        raise ArithmeticError("the lab's numbers do not add up")
'''
PROGRAM = """
import json, os, sys
import ibl_dask as ibd
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.model.task import TaskSpec


def main():
    session = sys.argv[1]
    specs = [
        *ibd.make_pipeline(session).specs,
        TaskSpec("Frames", "CountFrames", {"suffix": "csv"}, ("VideoSyncQC_nidq",)),
        TaskSpec("Breaks", "lab_tasks.tasks.Breaks"),
        TaskSpec("AfterBreaks", "lab_tasks.tasks.CountFrames", {}, ("Breaks",)),
    ]
    with connect(this_machine(2, dashboard_port=0)) as client:
        run = ibd.run([session], specs=specs, client=client)
    (outcome,) = run.sessions
    told = {
        "tasks": {name: str(status) for name, status in outcome.tasks.items()},
        "failures": [failure.message for failure in outcome.failures],
        "traceback": [failure.traceback for failure in outcome.failures],
        "workers": [record.worker for key, record in outcome.records.items() if key[0] == "CountFrames"],
        "driver": os.getpid(),
    }
    print(json.dumps(told))
    sys.exit(run.exit_code)


if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build and install the package; return the folder that it was installed to."""
    source, target = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("installed")
    (source / "lab_tasks").mkdir()
    (source / "lab_tasks" / "__init__.py").write_text("")
    (source / "lab_tasks" / "tasks.py").write_text(TASKS)
    (source / "backend.py").write_text(BACKEND)
    (source / "pyproject.toml").write_text(
        dedent("""
        [build-system]
        requires = []
        build-backend = "backend"
        backend-path = ["."]

        [project]
        name = "lab-tasks"
        version = "0.1"
        """)
    )
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return target


def test_a_lab_s_task_is_planned_run_on_a_cluster_and_its_failure_is_its_own(session_folder, installed, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, str(program), str(session_folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    mine = {
        name: status
        for name, status in told["tasks"].items()
        if name.startswith(("Video", "Breaks", "After", "Frames"))
    }
    assert mine == {
        "VideoRegisterRaw": "Complete",
        "VideoCompress": "Complete",
        "Breaks": "Errored",
        "VideoSyncQC_nidq": "Complete",
        "AfterBreaks": "Held",
        "Frames": "Complete",
    }
    assert (session_folder / "alf" / "lab.frames.csv").read_text() == "body:150 left:300 right:750"
    (message,) = told["failures"]
    assert "ArithmeticError: the lab's numbers do not add up" in message
    assert "lab_tasks/tasks.py" in told["traceback"][0]
    (worker,) = told["workers"]
    assert not worker.endswith(f":{told['driver']}")
    logs = {path.parent.name: path.read_text() for path in (session_folder / "ibl_dask" / "logs").glob("*/*.log")}
    assert f"on nidq by {worker.rsplit(':', 1)[1]}" in logs["Frames"]
    assert "about to break" in logs["Breaks"]
    assert "do not add up" in logs["Breaks"]
