"""Sessions that come while a run goes on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from described import described

from ibl_dask.model import events
from ibl_dask.model.task import TaskSpec
from ibl_dask.pipeline import task_calls
from ibl_dask.pipeline.run import run
from ibl_dask.store.run_folder import RunFolder
from ibl_dask.store.run_summary import read_progress

SPEC = TaskSpec("Done", "seven_tasks.TaskDone")


class Later:
    """A feed that has nothing at some of its calls, and the next session only after the one before has ended."""

    def __init__(self, paths: list[Path]) -> None:
        self.left, self.in_flight, self.n_calls = list(paths), 0, 0

    n_sessions = 0

    @property
    def is_over(self) -> bool:
        return not self.left

    def take(self) -> Path | None:
        self.n_calls += 1
        if self.n_calls % 3 or self.in_flight or not self.left:
            return None
        self.in_flight += 1
        return self.left.pop(0)

    def specs(self, session: Path) -> list[TaskSpec]:
        return [SPEC]

    def __call__(self, event: events.Event) -> None:
        self.in_flight -= isinstance(event, events.SessionFinished)


def test_a_run_takes_sessions_as_they_come_and_counts_them(tmp_path: Path) -> None:
    paths = [described(tmp_path, f"SW_{n:03}/2023-05-01/001") for n in range(4)]
    feed = Later(paths)
    result = run(feed, work_dir=tmp_path / "work", listeners=[feed])
    assert [outcome.path for outcome in result.sessions] == paths
    assert {str(outcome.tasks["Done"]) for outcome in result.sessions} == {"Complete"}
    progress = read_progress(RunFolder.of(tmp_path / "work", result.name)).progress
    assert list(progress.numbers) == [str(path) for path in paths]
    assert progress.states["done"] == len(paths)


def test_the_end_of_a_task_carries_what_a_database_wants(tmp_path: Path) -> None:
    path = described(tmp_path)
    heard: list[events.Event] = []
    feed = Later([path])
    run(feed, work_dir=tmp_path / "work", listeners=[heard.append, feed], is_hashed=True)
    (end,) = (event for event in heard if isinstance(event, events.TaskFinished))
    (file,) = end.outputs
    assert end.hashes == {file: hashlib.md5(Path(file).read_bytes()).hexdigest()}
    assert end.version
    assert end.seconds > 0
    assert Path(end.log).parent == path / "ibl_dask" / "logs"
    run([path], work_dir=tmp_path / "work", specs=[SPEC], listeners=[heard.append])
    assert next(e for e in reversed(heard) if isinstance(e, events.TaskFinished)).hashes == {}


def test_a_feed_that_has_nothing_ends_at_once(tmp_path: Path) -> None:
    result = run(Later([]), work_dir=tmp_path / "work")
    assert result.sessions == []
    assert result.is_success


def test_workers_plan_and_hash_sessions_of_a_feed(tmp_path: Path, client, monkeypatch) -> None:
    monkeypatch.setattr(task_calls, "MOST_SLOTS_SERVED", 0)
    paths = [described(tmp_path, f"SW_{n:03}/2023-05-01/001") for n in range(3)]
    heard: list[events.Event] = []
    feed = Later(paths)
    result = run(feed, work_dir=tmp_path / "work", client=client, listeners=[heard.append, feed], is_hashed=True)
    assert {str(outcome.tasks["Done"]) for outcome in result.sessions} == {"Complete"}
    ends = [event for event in heard if isinstance(event, events.TaskFinished)]
    assert [len(end.hashes) for end in ends] == [1, 1, 1]
