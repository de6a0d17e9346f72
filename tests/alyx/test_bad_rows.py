"""A row or a session that Alyx fails on, refuses or damages costs itself alone: the others run in the same round."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from alyx_passes import PLACE
from described import described
from fake_alyx import endpoints
from hypothesis import given
from hypothesis import strategies as st

from ibl_dask.alyx import results
from ibl_dask.alyx.claims import Claim, read_claim
from ibl_dask.alyx.coordinator import Coordinator
from ibl_dask.alyx.description_row import EXECUTABLE
from ibl_dask.alyx.reduced import reduced
from ibl_dask.alyx.serve import Round, Server
from ibl_dask.alyx.spool import Spool
from ibl_dask.alyx.task_result import Note, Output, TaskResult, require_usable
from ibl_dask.errors import CorruptOutput, NotWritable, SessionLocked, UnusableFile
from ibl_dask.model.status import Status

MANY = 10**6


class Queue:
    """A fake, its folder of subjects, and a server of its queue."""

    def __init__(self, fake, alyx, folder: Path) -> None:
        self.fake, self.alyx, self.folder, self.subjects = fake, alyx, folder, folder / "Subjects"
        self.rounds: list[Round] = []

    def session(self, subject: str = "SW_001", **fields) -> str:
        described(self.folder, f"{subject}/2026-11-20/001")
        return self.fake.world.add_session(subject, **fields)

    def row(self, eid: str, name: str = "TaskDone", **fields) -> str:
        return self.fake.world.add_task(eid, name, **{"executable": f"seven_tasks.{name}", **fields})

    def pair(self, **fields) -> tuple[str, str, str]:
        """Return a session with an urgent row, that row, and a good row of another session."""
        eid = self.session("TST_001")
        return eid, self.row(eid, **{"priority": 99, **fields}), self.row(self.session(), priority=1)

    def status(self, key: str) -> str:
        return self.fake.world.tasks[key]["status"]

    def server(self) -> Server:
        return Server(
            self.alyx,
            PLACE,
            self.subjects,
            self.subjects / ".ibl_dask",
            frozenset({"seven_tasks", "ibllib"}),
            creates=False,
            on_round=self.rounds.append,
        )

    def serve(self) -> Server:
        server = self.server()
        server.serve(once=True)
        return server


@pytest.fixture
def queue(fake, alyx, tmp_path: Path) -> Queue:
    return Queue(fake, alyx, tmp_path)


def refuse(monkeypatch, change, *keys: str) -> None:
    """Let the fake treat changes of some tasks in a way of its own."""
    usual = endpoints._HANDLERS["tasks"]

    def handler(world, call, key):
        return change(usual, world, call, key) if call.method == "PATCH" and key in keys else usual(world, call, key)

    monkeypatch.setitem(endpoints._HANDLERS, "tasks", handler)


def is_gone(usual, world, call, key):
    raise endpoints.not_found("Task")


# -- errors that come again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ("GET /sessions/{eid}", "500"),
        ("GET /sessions/{eid}", "502"),
        ("GET /sessions/{eid}", "drop_before"),
        ("PATCH /tasks/{bad}", "500"),
        ("PATCH /tasks/{bad}", "502"),
    ],
)
def test_a_session_or_row_that_fails_again_and_again_keeps_no_other_from_running(
    queue: Queue, broken: str, kind: str
) -> None:
    eid, bad, good = queue.pair()
    method, path = broken.format(eid=eid, bad=bad).split()
    queue.fake.faults.plan(kind, method, path, times=MANY)
    server = queue.serve()
    assert queue.status(good) == "Complete"
    assert queue.status(bad) == "Waiting"
    assert ("no answer" if kind == "drop_before" else f"status {kind}") in server.left_waiting[bad]


def test_rows_of_a_session_beside_the_broken_one_run(queue: Queue) -> None:
    eid, bad, _ = queue.pair()
    beside = queue.row(eid, "TaskIncomplete")
    queue.fake.faults.plan("500", "PATCH", f"/tasks/{bad}", times=MANY)
    queue.serve()
    assert queue.status(beside) == "Incomplete"


def test_a_server_that_fails_as_a_whole_costs_no_row_its_turn(queue: Queue) -> None:
    _, bad, good = queue.pair()
    for path in ("/sessions", "/users"):
        queue.fake.faults.plan("500", "GET", path, times=MANY)
    server = queue.server()
    server.serve(once=True)
    assert server.left_waiting == {}
    queue.fake.faults.__init__()
    server.serve(once=True)
    assert {queue.status(bad), queue.status(good)} == {"Complete"}


@pytest.mark.parametrize("how", ["500", "404"])
def test_a_sweep_goes_on_after_a_row_that_cannot_be_changed(queue: Queue, monkeypatch, how: str) -> None:
    eid = queue.session()
    with Coordinator(queue.alyx, PLACE, queue.subjects) as coordinator:
        log = coordinator.mine.to_log()
        done = queue.row(eid, "Done", status="Complete")
        started = [queue.row(eid, f"Started{n}", status="Started", log=log) for n in range(3)]
        held = [queue.row(eid, f"Held{n}", status="Held", parents=[done]) for n in range(3)]
        bad = {started[0], held[0]}
        if how == "404":
            refuse(monkeypatch, is_gone, *bad)
        for key in bad if how == "500" else ():
            queue.fake.faults.plan("500", "PATCH", f"/tasks/{key}", times=MANY)
        returned, released = coordinator.sweep()
    assert {row.id for row in [*returned, *released]} == {*started, *held} - bad
    assert {queue.status(key) for key in [*started[1:], *held[1:]]} == {"Waiting"}


def test_a_held_row_whose_parent_alyx_cannot_show_keeps_no_other_held(queue: Queue) -> None:
    eid = queue.session()
    done, broken = queue.row(eid, "Done", status="Complete"), queue.row(eid, "Broken", status=10)
    held, free = queue.row(eid, "A", status="Held", parents=[broken]), queue.row(eid, status="Held", parents=[done])
    queue.serve()
    assert (queue.status(held), queue.status(free)) == ("Held", "Complete")


def test_a_sweep_lists_the_parents_of_held_rows_and_no_others(queue: Queue) -> None:
    eid = queue.session()
    failed = [queue.row(eid, f"Failed{n}", status="Errored") for n in range(60)]
    for n, parent in enumerate(failed):
        queue.row(eid, f"Held{n}", status="Held", parents=[parent])
    with Coordinator(queue.alyx, PLACE, queue.subjects) as coordinator:
        queue.fake.requests.clear()
        assert coordinator.sweep() == ([], [])
    assert queue.fake.n_requests() == 4  # started rows, held rows, and 60 parents in two requests


def test_a_parent_that_is_no_identifier_reaches_no_filter_that_alyx_evaluates(queue: Queue) -> None:
    key = queue.row(queue.session(), status="Held", parents=["'] + [__import__('os').system('touch /tmp/x')"])
    queue.serve()
    assert queue.status(key) == "Held"
    assert not any("import" in str(query) for _, _, query, _ in queue.fake.requests)


# -- rows that no result can be written of ----------------------------------------------------------------------------


@pytest.mark.parametrize("executable", [EXECUTABLE, "seven_tasks.TaskDone"])
@pytest.mark.parametrize("name", ["Experi\nment", "\x1b[2J", "../out", "n" * 60 + "\t"])
def test_a_row_of_an_odd_name_ends_errored_and_the_others_run(queue: Queue, name: str, executable: str) -> None:
    eid = queue.session("TST_001")
    bad, good = queue.row(eid, name, executable=executable, priority=99), queue.row(queue.session(), priority=1)
    queue.serve()
    assert (queue.status(bad), queue.status(good)) == ("Errored", "Complete")
    assert "does not stay inside its session" in queue.fake.world.tasks[bad]["log"]


def test_a_file_of_an_odd_name_makes_its_task_errored_and_the_other_files_are_registered(queue: Queue) -> None:
    eid, bad, good = queue.pair(name="TaskOddFiles")
    queue.serve()
    assert (queue.status(bad), queue.status(good)) == ("Errored", "Complete")
    assert "wheel[1].position.npy" in queue.fake.world.tasks[bad]["log"]
    assert queue.fake.world.files_of(eid) == ["alf/TaskOddFiles/wheel.position.npy"]


def test_a_damaged_record_of_checks_is_the_result_of_its_task(queue: Queue, monkeypatch) -> None:
    _, bad, good = queue.pair(name="TaskIncomplete")
    usual = results.with_checks

    def with_checks(result: TaskResult, executable: str) -> TaskResult:
        if executable.endswith("TaskIncomplete"):
            raise CorruptOutput("this record of checks is damaged")
        return usual(result, executable)

    monkeypatch.setattr(results, "with_checks", with_checks)
    queue.serve()
    assert (queue.status(bad), queue.status(good)) == ("Errored", "Complete")
    assert "record of checks is damaged" in queue.fake.world.tasks[bad]["log"]


def test_a_result_that_cannot_be_written_is_reported_and_its_row_waits_again(queue: Queue, monkeypatch) -> None:
    bad = queue.row(queue.session())
    usual, full = Spool.add, [NotWritable("the disk is full")]
    monkeypatch.setattr(Spool, "add", lambda spool, result: usual(spool, result) if not full else _raise(full.pop()))
    server = queue.serve()
    assert any("the disk is full" in each.problem for each in queue.rounds)
    assert queue.status(bad) == "Waiting"
    assert "the disk is full" in server.left_waiting[bad]
    queue.serve()
    assert queue.status(bad) == "Complete"


def _raise(error: Exception) -> None:
    raise error


@given(
    st.text(max_size=80),
    st.lists(st.text(max_size=12), max_size=4),
    st.lists(st.text(max_size=12), max_size=3),
    st.sampled_from(list(Status)),
)
def test_what_is_left_of_any_result_can_be_spooled(name: str, paths: list[str], images: list[str], status) -> None:
    outputs = (Output("alf/a.npy", 1), *(Output(path, 1, "x") for path in paths), *(Output(p, 1) for p in paths))
    notes = tuple(Note("text", image) for image in images)
    result = TaskResult("SW_001/2026-11-20/001", name, str(status), log="before", outputs=outputs, notes=notes)
    left = reduced(result, UnusableFile("this is no result of a task", got="it is odd"))
    require_usable(left)
    assert Output("alf/a.npy", 1) in left.outputs
    assert set(left.outputs) <= set(outputs)
    assert left.log.startswith("before")
    assert "it is odd" in left.log
    assert left.status == (status if status in ("Waiting", "Held") else "Errored")


# -- rows that change -------------------------------------------------------------------------------------------------


def test_a_row_runs_as_it_was_checked_whatever_the_answer_to_its_claim_names(queue: Queue, monkeypatch) -> None:
    (queue.folder / "stranger.py").write_text("raise SystemExit('it was imported')\n")
    monkeypatch.syspath_prepend(queue.folder)
    good = queue.row(queue.session())

    def answer(usual, world, call, key):
        status, row = usual(world, call, key)
        return status, {**row, "executable": "stranger.X", "arguments": {"collection": "../.."}, "name": "Other"}

    refuse(monkeypatch, answer, good)
    queue.serve()
    assert queue.status(good) == "Complete"
    assert "stranger" not in sys.modules


@pytest.mark.parametrize("how", ["500", "404"])
def test_children_of_a_row_that_could_not_be_claimed_do_not_run(queue: Queue, monkeypatch, how: str) -> None:
    eid = queue.session()
    parent = queue.row(eid)
    child = queue.row(eid, "ChildOfDone", parents=[parent], level=1)
    grandchild = queue.row(eid, "ChildOfFailed", parents=[child], level=2)
    if how == "404":
        refuse(monkeypatch, is_gone, parent)
    else:
        queue.fake.faults.plan("500", "PATCH", f"/tasks/{parent}", times=MANY)
    queue.serve()
    assert queue.status(parent) == "Waiting"
    assert {queue.status(child), queue.status(grandchild)} == {"Held"}
    assert queue.fake.world.files_of(eid) == []


def test_a_description_whose_session_cannot_be_changed_keeps_no_other_from_running(queue: Queue) -> None:
    eid, bad, good = queue.pair(name="Description", executable=EXECUTABLE)
    child = queue.row(eid, parents=[bad])
    queue.fake.faults.plan("500", "PATCH", f"/sessions/{eid}", times=MANY)
    server = queue.serve()
    assert (queue.status(bad), queue.status(child), queue.status(good)) == ("Waiting", "Held", "Complete")
    assert "status 500" in server.left_waiting[bad]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_interrupt_in_the_middle_of_claims_leaves_no_row_started(queue: Queue, monkeypatch, at: int) -> None:
    eid = queue.session()
    keys = [queue.row(eid, name) for name in ("TaskDone", "TaskIncomplete", "ChildOfDone")]
    usual, calls = Coordinator.claim, []

    def claim(coordinator, row) -> None:
        usual(coordinator, row)
        calls.append(row)
        if len(calls) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(Coordinator, "claim", claim)
    with pytest.raises(KeyboardInterrupt):
        queue.serve()
    assert {queue.status(key) for key in keys} == {"Waiting"}


def test_rows_wait_again_where_the_workers_do_not_start(queue: Queue) -> None:
    key = queue.row(queue.session())
    server = queue.server()
    server.client = lambda: _raise(RuntimeError("no scheduler"))
    with pytest.raises(RuntimeError, match="no scheduler"):
        server.serve(once=True)
    assert queue.status(key) == "Waiting"


@pytest.mark.parametrize(("description", "ends"), [("{", "Errored"), (None, "Empty"), ("good", "Complete")])
def test_children_of_a_description_run_only_once_it_is_registered(queue: Queue, description, ends: str) -> None:
    eid = queue.session()
    path = next(queue.subjects.rglob("_ibl_experiment.description.yaml"))
    if description is None:
        path.unlink()
    elif description != "good":
        path.write_text(description)
    parent = queue.row(eid, "ExperimentDescriptionRegisterRaw", executable=EXECUTABLE)
    child = queue.row(eid, parents=[parent], level=1)
    queue.serve()
    assert queue.status(parent) == ends
    assert (queue.status(child) == "Complete") == (ends == "Complete")


# -- one server -------------------------------------------------------------------------------------------------------


def test_a_second_server_of_a_repository_is_refused_and_changes_nothing(queue: Queue) -> None:
    key = queue.row(queue.session())
    with Coordinator(queue.alyx, PLACE, queue.subjects / ".ibl_dask"), pytest.raises(SessionLocked, match="another"):
        queue.serve()
    assert queue.status(key) == "Waiting"
    assert queue.fake.n_requests("PATCH") == 0
    queue.serve()
    assert queue.status(key) == "Complete"


def test_the_claim_of_a_row_names_its_owner_until_it_ends(queue: Queue, monkeypatch) -> None:
    key = queue.row(queue.session())
    logs = []

    def noted(usual, world, call, key):
        status, row = usual(world, call, key)
        logs.append((row["status"], row["log"]))
        return status, row

    refuse(monkeypatch, noted, key)
    queue.serve()
    (started, log), (ended, _) = logs
    assert (started, ended) == ("Started", "Complete")
    assert isinstance(read_claim(log), Claim)
