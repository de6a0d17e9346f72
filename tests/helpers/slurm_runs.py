"""Runs on the Slurm of the tests: sites, and an executor that sees where every step ran."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import yaml
from noting_steps import FindNumbers, watch
from waiting import wait_until

from ibl_dask.deploy.cluster.gpu import CHECK_VARIABLE
from ibl_dask.deploy.site.profile import Pool, Profile
from ibl_dask.model.step import Resources, Step
from ibl_dask.pipeline.executors import OnCluster
from ibl_dask.pipeline.run import run
from ibl_dask.tasks.video_sync.frame_pass import PassChunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from slurm_machine import Slurm

    from ibl_dask.model.step import StepKey, StepRecord
    from ibl_dask.pipeline.run_outcome import Run

GOP = 10
CHUNK_PIXELS = GOP * 160 * 128
"""Some forty chunks for the three cameras of the small session."""
CHUNKED = ("framepass", "numbers")
"""Kinds of steps that there are many of; they wait at the gate."""


def site(folder: Path, *pools: Pool, **more: Any) -> Profile:
    """Return a profile of the loopback Slurm, impatient enough for tests."""
    usual = {"scratch": folder / "work", "log_folder": folder / "jobs", "interface": "lo", "security": "none"}
    usual |= {"dashboard_port": 0, "poll_s": 1.0, "idle_s": 2.0}
    return Profile(name="loopback", pools=pools, **(usual | more))


def pool(name: str = "cpu", **more: Any) -> Pool:
    """Return a pool whose workers are started by this Python, on the partition of its name."""
    usual = {"scheduler": "slurm", "queue": name, "max_jobs": 2, "memory_gb": 1.0, "walltime_s": 600}
    return Pool(name=name, **(usual | {"python": sys.executable, "interface": "lo"} | more))


GPU: dict[str, Any] = {"gpus": 1, "setup": (f"export {CHECK_VARIABLE}=none",)}
"""What a pool with a GPU says; that the GPU is none must not turn its workers away."""


def write_profile(path: Path, folder: Path, **pools: Mapping[str, Any]) -> Path:
    """Write the profile of a site with such pools as a file that people could have written."""
    content: dict[str, Any] = {"name": "loopback", "scratch": str(folder / "work"), "interface": "lo"}
    content |= {"security": "none", "dashboard_port": 0, "poll_s": 1, "idle_s": 2, "pools": {}}
    for name, given in pools.items():
        usual = {"scheduler": "slurm", "queue": name, "max_jobs": 2, "cores": 1, "memory": "1 GB"}
        content["pools"][name] = usual | {"walltime": "00:10:00", "python": sys.executable, "interface": "lo"} | given
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


class Watched(OnCluster):
    """Notes where every step runs; asked to search, reads the frame numbers of every chunk on GPU workers, too."""

    def __init__(self, client: Any, folder: Path, *, search: bool = False) -> None:
        super().__init__(client)
        self._search = search
        self._log = folder / "places.jsonl"
        self._gate = folder / "gate"
        self.found: dict[tuple[str, int], StepRecord] = {}

    def submit(
        self,
        steps: Sequence[Step],
        root: Path,
        known: Mapping[StepKey, StepRecord],
        priority: int,
        places: Sequence[Path] = (),
    ) -> None:
        searches = [_search(step) for step in steps if isinstance(step, PassChunk)] if self._search else []
        super().submit([self._noted(step, searches) for step in (*steps, *searches)], root, known, priority, places)

    def completed(self) -> Iterator[StepRecord]:
        for record in super().completed():
            if record.key[0].startswith("numbers"):
                self.found[record.key[0], record.key[3]] = record
            else:
                yield record

    def _noted(self, step: Step, searches: Sequence[Step]) -> Step:
        gate = self._gate if step.kind in CHUNKED else self._gate.with_name("no gate")
        # A session waits for its searches, as it will for poses: what they read is removed when it is done.
        mine = tuple(search.key for search in searches if search.camera == step.camera and step.kind == "frames")
        return watch(step, self._log, gate, mine)

    def close_gate(self) -> None:
        """Let chunks start, and not end."""
        self._gate.touch()

    def open_gate(self) -> None:
        """Let chunks end."""
        self._gate.unlink(missing_ok=True)

    def lines(self, kind: str, what: str = "start") -> list[dict[str, Any]]:
        """Return what steps of a kind noted so far."""
        if not self._log.exists():
            return []
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in lines if line["what"] == what and line["step"].split("-")[0] == kind]

    def executions(self, kind: str = "framepass") -> tuple[int, int]:
        """Return how often chunks were started, and how many there are."""
        started = Counter((line["step"], line["chunk"]) for line in self.lines(kind))
        print(f"{kind}: {started.total()} executions of {len(started)} chunks ({started.total() / len(started):.3f})")
        return started.total(), len(started)


def _search(step: PassChunk) -> Step:
    return FindNumbers(
        session=step.session,
        camera=step.camera,
        chunk=step.chunk,
        lease=step.lease,
        resources=Resources(gpu=1, memory_gb=0.5),
        workspace=step.workspace,
        video=step.video,
        frames=step.frames,
        index=step.index,
    )


@contextmanager
def going_on(session: Path, executor: Watched, **options: Any) -> Iterator[Future[Run]]:
    """Run a session in another thread; yield what will be its result. The gate is open at the end."""
    future: Future[Run] = Future()

    def drive() -> None:
        try:
            future.set_result(run_it(session, executor, **options))
        except BaseException as error:  # noqa: BLE001  # it is raised where somebody asks for the result
            future.set_exception(error)

    threading.Thread(target=drive, daemon=True).start()
    try:
        yield future
    finally:
        executor.open_gate()


def started(executor: Watched, n: int, kind: str = "framepass") -> list[dict[str, Any]]:
    """Wait until so many chunks have started, and return where."""
    return wait_until(lambda: len(lines := executor.lines(kind)) >= n and lines, 90)


def run_it(session: Path, executor: Watched, **options: Any) -> Run:
    """Run a session."""
    return run([session], executor=executor, chunk_pixels=CHUNK_PIXELS, **options)


class Watch:
    """Counts jobs and workers of each pool while something runs."""

    def __init__(self, client: Any, slurm: Slurm) -> None:
        self._cluster = client.cluster
        self._slurm = slurm
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.most: Counter[str] = Counter()

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            for state in self._cluster.pools():
                self.most[state.pool.name] = max(self.most[state.pool.name], state.n_workers)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def wait_for_end_of_jobs(client: Any, slurm: Slurm, seconds: float = 60) -> float:
    """Wait until a cluster without work has no job and no worker left; return how long that took, s."""
    started_s = time.monotonic()

    def is_empty() -> bool:
        return not slurm.jobs() and all(not (s.n_jobs or s.n_workers) for s in client.cluster.pools())

    wait_until(is_empty, seconds, step_s=0.2)
    return time.monotonic() - started_s
