"""What many tests share: where real recordings are, and sessions made by the synthesiser."""

import logging
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from needs import DATA, LIGHTNING_POSE, NEEDS, PEER
from reference import Reference
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script: the programs that tests interrupt would inherit that and never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile(
    "patient",
    settings(),
    deadline=None,
    # The same examples each time, so that a change is what makes a test fail; new ones, and as many as that says, with
    # IBL_DASK_EXAMPLES.
    derandomize="IBL_DASK_EXAMPLES" not in os.environ,
    max_examples=int(os.environ.get("IBL_DASK_EXAMPLES", "50")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")


class _ByFile(LoadScopeScheduling):
    """Gives the tests of a file to one process, since they share fixtures; so all tests on a Slurm, which is one.

    One process begins with the files that compute, while the others have those that mostly wait.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "slurm" if "slurm/" in file else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        computes = node.gateway.id == "gw0"
        scope = next((scope for scope in self.workqueue if _is_slow(scope) != computes), None)
        if scope is not None:
            self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)


class _FromPlace(pytest.Dir):
    """Folder whose first entry to be collected depends on the process."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        entries = list(super().collect())
        start = len(entries) * int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) // _n_processes()
        return entries[start:] + entries[:start]


def _n_processes() -> int:
    return int(os.environ["PYTEST_XDIST_WORKER_COUNT"])


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Dir | None:
    """Collect from another place in each process: what one has compiled, the others read.

    In a fresh tree each would compile all files otherwise, for 15 s of processor time.
    """
    if path == Path(__file__).parent and "PYTEST_XDIST_WORKER" in os.environ:
        return _FromPlace.from_parent(parent, path=path)
    return None


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByFile:
    return _ByFile(config, log)


SLOW_FOLDERS = ("slurm", "chaos", "faults", "integration", "notebooks", "cli", "pipeline", "deploy", "tasks")
"""Folders of tests that start programs and clusters and mostly wait for them: their files come first, so that all
processes end together. Those on Slurm follow one another in one process."""


def _is_slow(scope: str) -> bool:
    return any(folder in SLOW_FOLDERS for folder in scope.split("/"))


def _rank(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return SLOW_FOLDERS.index(folder) if folder in SLOW_FOLDERS else len(SLOW_FOLDERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order tests; mark each by what it needs, and skip it where that is missing."""
    items.sort(key=lambda item: (_rank(item), item.path))  # in all processes alike
    missing = {need: need.missing() for need in NEEDS}
    for item in items:
        needed = [need for need in NEEDS if need.is_needed_by(item)]
        for need in needed:
            item.add_marker(need.mark)
        reason = next((missing[need] for need in needed if missing[need]), "")
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line per reason for which tests were skipped."""
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        for name, change in getattr(report, "user_properties", ()):
            if name == "changed logging" and report.when == "teardown":
                terminalreporter.write_line(f"{report.nodeid} changed loggers: {change}")
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", []))
    for reason, n_tests in sorted(reasons.items()):
        terminalreporter.write_line(
            f"skipped {n_tests:,} {'test' if n_tests == 1 else 'tests'}: {reason.removeprefix('Skipped: ')}"
        )


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of real recordings."""
    return DATA


@pytest.fixture(scope="session")
def lightning_pose_python() -> str:
    """Return the Python of an environment with Lightning Pose and the ensemble Kalman smoother."""
    return LIGHTNING_POSE


@pytest.fixture(autouse=True)
def _own_scratch(monkeypatch):
    """Keep the caller's scratch and environments out of the tests."""
    for name in [name for name in os.environ if name == "IBL_DASK_SCRATCH" or name.startswith("IBL_DASK_PYTHON_")]:
        monkeypatch.delenv(name)


_LOGGERS = ("", "ibl_dask", "ibl_dask.deploy.performance")


@pytest.fixture(autouse=True)
def _own_width(monkeypatch):
    """Let the console take its width from the environment of each test, not from that of its first import."""
    monkeypatch.delenv("COLUMNS", raising=False)
    console = sys.modules.get("ibl_dask.cli.console")
    for output in () if console is None else (console.out, console.err):
        monkeypatch.setattr(output, "_width", None)


@pytest.fixture(autouse=True)
def _own_logging(request):
    """Put loggers back as they were; which tests changed them is printed at the end."""
    before = _logging_state()
    yield
    if _logging_state() != before:
        request.node.user_properties.append(("changed logging", f"{before} -> {_logging_state()}"))
        for name, (disabled, propagate, level, filters) in before.items():
            logger = logging.getLogger(name)
            logger.disabled, logger.propagate, logger.filters = disabled, propagate, list(filters)
            logger.setLevel(level)


def _logging_state() -> dict[str, tuple[bool, bool, int, tuple[object, ...]]]:
    loggers = {name: logging.getLogger(name or None) for name in _LOGGERS}
    return {name: (one.disabled, one.propagate, one.level, tuple(one.filters)) for name, one in loggers.items()}


SESSION = Path("lab") / "Subjects" / "SW_001" / "2023-05-01" / "001"


@pytest.fixture(scope="session")
def _template(tmp_path_factory) -> Path:
    """Write one small session of the ephys rig: three cameras, 5 s, a sixteenth of the pixels."""
    from ibl_dask.synth.session import write_session

    folder = tmp_path_factory.mktemp("template") / SESSION
    folder.mkdir(parents=True)
    write_session(folder, duration_s=5, scale=0.25, gop=25, b_frames=2, ssv_cameras=("body",))
    return folder


@pytest.fixture
def session_folder(_template, tmp_path) -> Path:
    """Return a copy of the small session that a test may do anything with."""
    folder = tmp_path / SESSION
    shutil.copytree(_template, folder)
    return folder


@pytest.fixture(scope="session")
def _raw_template(tmp_path_factory) -> Path:
    """Write a session of 5 s as the rig leaves it: MPEG-4 in AVI."""
    from ibl_dask.synth.session import write_session

    folder = tmp_path_factory.mktemp("raw") / SESSION
    write_session(folder, duration_s=5, scale=0.125, gop=12, raw_avi=True)
    return folder


@pytest.fixture
def raw_session(_raw_template, tmp_path) -> Path:
    """Return a copy of the session with raw videos that a test may do anything with."""
    folder = tmp_path / SESSION
    shutil.copytree(_raw_template, folder)
    return folder


@pytest.fixture(scope="session")
def client():
    """Return a client to two worker processes on this machine."""
    from ibl_dask.deploy.cluster.connect import connect
    from ibl_dask.deploy.site.profile import this_machine

    with connect(this_machine(2, dashboard_port=0)) as client:
        yield client


def _start_reference(tmp_path_factory: pytest.TempPathFactory, *options: str) -> Iterator[Reference]:
    reference = Reference(PEER, tmp_path_factory.mktemp("reference"), *options)
    yield reference
    reference.close()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """Return the reference."""
    yield from _start_reference(tmp_path_factory)


@pytest.fixture(scope="session")
def reference_without_asserts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    """Return the reference under `python -O`, which leaves out all `assert`."""
    yield from _start_reference(tmp_path_factory, "-O")
