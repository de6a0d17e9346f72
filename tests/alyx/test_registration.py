"""Files of a session are registered together and once, whatever becomes of the answers."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from alyx_results import REPOSITORY, add_tasks, output, output_of, result
from fake_alyx import endpoints
from waiting import wait_until

from ibl_dask.alyx.client import Alyx, Limits
from ibl_dask.alyx.credentials import Access, Token
from ibl_dask.alyx.job_creator import register_tasks
from ibl_dask.alyx.outbox import SpoolOutbox
from ibl_dask.alyx.pacing import Backoff
from ibl_dask.alyx.register_calls import Quiet
from ibl_dask.alyx.registrar import Registration
from ibl_dask.alyx.spool import Spool
from ibl_dask.alyx.sync import MOST_FAILURES, Writer
from ibl_dask.model.task import TaskSpec

TOKEN = "0" * 39 + "1"
PLACE = Registration(REPOSITORY, "cortexlab", quiet=Quiet(0.4, 0.0))
TIMES = [f"alf/_ibl_{label}Camera.times.npy" for label in ("body", "left", "right")]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "alyx")


@pytest.fixture
def writer(spool: Spool, alyx: Alyx) -> Writer:
    return Writer(spool, alyx, PLACE)


def calls(fake) -> list[list[str]]:
    """Return the files of each registration."""
    return [json.loads(row[3])["filenames"] for row in fake.requests if row[1] == "/register-file"]


def test_results_of_one_session_share_calls_and_those_of_another_have_their_own(fake, spool, writer) -> None:
    for subject in ("TST_001", "TST_002"):
        session, tasks = add_tasks(fake.world, subject, 60)
        for n, task in enumerate(tasks):
            spool.add(result(subject, session, task, n=n, version=f"0.{n}"))
    assert writer.run().n_sent == 120
    assert [len(files) for files in calls(fake)] == [50, 10, 50, 10]
    assert {row["version"] for row in fake.world.datasets.values()} == {f"0.{n}" for n in range(60)}
    assert {row["n_times"] for row in fake.world.datasets.values()} == {1}


def test_two_attempts_at_a_task_register_the_later_file(fake, spool, writer) -> None:
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    for n, content in enumerate(("old", "new")):
        spool.add(result("TST_001", session, task, outputs=(output(TIMES[0], content),), made_s=10.0 + n, log=content))
    assert writer.run().n_sent == 2
    [row] = fake.world.datasets.values()
    assert (row["hash"], row["n_times"]) == (output(TIMES[0], "new").md5, 1)
    assert len(spool.sent()) == 2
    assert all(line["datasets"] == {TIMES[0]: row["id"]} for line in spool.sent().values())


def test_the_bad_file_of_one_result_costs_few_calls_and_no_other_result(fake, spool, writer) -> None:
    session, tasks = add_tasks(fake.world, "TST_001", 32)
    for n, task in enumerate(tasks):
        spool.add(result("TST_001", session, task, n=n))
    bad = "alf/task_17/_ibl_bodyCamera.times.npy"
    spool.add(result("TST_002", fake.world.add_session("TST_002"), "", n=17))
    assert writer.run().n_sent == 33
    twin = next(row for row in fake.world.datasets.values() if row["collection"] == "alf/task_17")
    fake.world.datasets["again"] = {**twin, "id": "again"}
    fake.requests.clear()
    for n, task in enumerate(tasks):
        spool.add(result("TST_001", session, task, n=n, log="once more"))
    report = writer.run()
    assert (report.n_sent, report.n_dead) == (31, 1)
    assert bad in report.problems[0]
    assert len(calls(fake)) <= 13


def test_a_server_that_fails_on_the_file_of_one_result_takes_those_of_the_others(
    fake, spool, writer, monkeypatch
) -> None:
    session, tasks = add_tasks(fake.world, "TST_001", 5)
    for n, task in enumerate(tasks):
        spool.add(result("TST_001", session, task, n=n))
    handler = endpoints._HANDLERS["register-file"]

    def fails(world, call, key):
        if any("task_03" in name for name in call.fields["filenames"]):
            raise endpoints.failed("out of memory")
        return handler(world, call, key)

    monkeypatch.setitem(endpoints._HANDLERS, "register-file", fails)
    report = writer.run()
    assert (report.n_sent, report.n_left, report.n_dead) == (4, 1, 0)
    assert [row["status"] for row in fake.world.tasks.values()].count("Complete") == 4
    assert fake.world.tasks[tasks[3]]["status"] == "Started"
    monkeypatch.setitem(endpoints._HANDLERS, "register-file", handler)
    assert writer.run().n_sent == 1
    assert {row["n_times"] for row in fake.world.datasets.values()} == {1}


def test_a_folder_that_cannot_be_written_costs_the_protected_file_of_one_result(fake, spool, writer, tmp_path) -> None:
    session, [first, second, third] = add_tasks(fake.world, "TST_001", 3)
    spool.add(result("TST_001", session, first, outputs=tuple(map(output, TIMES[:2]))))
    assert writer.run().n_sent == 1
    for name in TIMES[:2]:
        fake.world.protect(name.rpartition("/")[2])
    for n, (task, name) in enumerate(((second, TIMES[0]), (third, TIMES[1]))):
        folder = tmp_path / f"root{n}/TST_001/2026-11-20/001"
        (folder / "alf").mkdir(parents=True)
        (folder / name).write_bytes(b"new")
        if n == 0:
            (folder / "ibl_dask").write_text("a file where the folder of this package should be")
        spool.add(result("TST_001", session, task, n=n + 1, folder=str(folder), outputs=(output_of(folder, name),)))
    report = writer.run()
    assert (report.n_sent, report.n_left + report.n_dead) == (1, 1)
    assert fake.world.tasks[third]["status"] == "Complete"
    assert [path for path in fake.world.files_of(session) if "#" in path and "left" in path]


def test_results_name_their_repository(fake, spool, writer) -> None:
    session, tasks = add_tasks(fake.world, "TST_001", 3)
    for n, (task, place) in enumerate(zip(tasks, ("flatiron_cortexlab", "", "flatiron_cortexlab"), strict=True)):
        spool.add(result("TST_001", session, task, n=n, repository=place))
    assert writer.run().n_sent == 3
    sent = [json.loads(row[3]) for row in fake.requests if row[1] == "/register-file"]
    assert {each["name"]: len(each["filenames"]) for each in sent} == {"flatiron_cortexlab": 2, REPOSITORY: 1}


def test_without_a_repository_files_are_registered_with_none(fake, spool, alyx) -> None:
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task))
    assert Writer(spool, alyx, replace(PLACE, repository="")).run().n_sent == 1
    assert "name" not in json.loads(next(row[3] for row in fake.requests if row[1] == "/register-file"))


# -- lost answers -----------------------------------------------------------------------------------------------------


def impatient(fake) -> Alyx:
    limits = Limits(per_minute=6e5, read_s=20.0, read_files_s=0.2, backoff=Backoff(0.001, 0.01, 12, 12))
    return Alyx(Access(fake.url, "test_user", Token(TOKEN)), limits)


def look_at_each_change(writer: Writer, fake, n_files: int) -> None:
    """Let a pause last until a server that works on a call has registered another file, however slow it is."""

    def sleep(_: float) -> None:
        n_before = len(fake.world.datasets)
        while len(fake.world.datasets) == n_before < n_files:
            time.sleep(0.01)

    writer._registrar._calls._sleep = sleep


def test_a_server_that_still_works_on_a_call_is_not_sent_it_again(fake, spool) -> None:
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task, outputs=tuple(map(output, TIMES))))
    fake.world.register_pause_s = 0.3
    writer = Writer(spool, impatient(fake), PLACE)
    look_at_each_change(writer, fake, len(TIMES))
    assert writer.run().n_sent == 1
    assert len(calls(fake)) == 1
    assert fake.world.files_of(session) == TIMES
    assert spool.sent().popitem()[1]["datasets"].keys() == set(TIMES)


def test_a_writer_that_was_killed_in_a_call_does_not_repeat_it_at_once(fake, spool, alyx) -> None:
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task, outputs=tuple(map(output, TIMES))))
    fake.world.register_pause_s = 0.2

    class Killed(BaseException):
        pass

    send = alyx._send

    def killed(method, path, *args):
        if path != "/register-file":
            return send(method, path, *args)
        threading.Thread(target=send, args=(method, path, *args)).start()
        while not calls(fake):
            time.sleep(0.01)
        raise Killed

    alyx._send = killed
    with pytest.raises(Killed):
        Writer(spool, alyx, PLACE).run()
    alyx._send = send
    writer = Writer(spool, alyx, PLACE)
    look_at_each_change(writer, fake, len(TIMES))
    assert writer.run().n_sent == 1
    assert len(calls(fake)) == 1
    assert fake.world.files_of(session) == TIMES


def test_code_of_the_field_that_registers_through_this_client_repeats_no_call_at_once(fake, tmp_path) -> None:
    from ibl_dask.alyx.one_client import OneClient

    session = fake.world.add_session("TST_001")
    fake.world.register_pause_s = 0.5
    body = {"created_by": "test_user", "path": "TST_001/2026-11-20/001", "filenames": [TIMES[0]], "name": REPOSITORY}

    alyx = impatient(fake)

    def soon() -> None:
        while not fake.world.datasets:
            time.sleep(0.01)
        alyx.limits = replace(alyx.limits, read_files_s=20.0)  # the second call is answered, however late
        fake.world.register_pause_s = 0.0

    threading.Thread(target=soon, daemon=True).start()
    [row] = OneClient(alyx, tmp_path, Quiet(1.0, 0.0)).post("/register-file", data=body)
    assert fake.world.files_of(session) == TIMES[:1]
    assert [row["id"]] == list(fake.world.datasets)
    assert len(calls(fake)) == 2


@pytest.mark.parametrize("kind", ["drop_before", "502"])
def test_only_what_a_lost_call_did_not_register_is_asked_for_again(fake, spool, writer, kind) -> None:
    session, tasks = add_tasks(fake.world, "TST_001", 2)
    spool.add(result("TST_001", session, tasks[0], outputs=(output(TIMES[1]),)))
    assert writer.run().n_sent == 1
    fake.requests.clear()
    fake.faults.plan(kind, "POST", "/register-file")
    spool.add(result("TST_001", session, tasks[1], n=1, outputs=tuple(map(output, TIMES))))
    assert writer.run().n_sent == 1
    assert calls(fake) == [TIMES, [TIMES[0], TIMES[2]]]
    assert fake.world.files_of(session) == TIMES


def test_a_call_that_another_program_meets_is_sent_again_once_that_is_over(fake, spool, writer, monkeypatch) -> None:
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task))
    handler, n_calls = endpoints._HANDLERS["register-file"], []

    def meets_another(world, call, key):
        n_calls.append(1)
        if len(n_calls) == 1:
            raise endpoints.failed('duplicate key value violates unique constraint "data_filerecord_uniq"')
        return handler(world, call, key)

    monkeypatch.setitem(endpoints._HANDLERS, "register-file", meets_another)
    assert writer.run().n_sent == 1
    assert len(fake.world.files_of(session)) == 1


# -- protected datasets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names_all", [False, True])
def test_one_protected_file_of_many_costs_one_look_and_no_other_file(fake, spool, writer, tmp_path, names_all) -> None:
    session, [first, second] = add_tasks(fake.world, "TST_001", 2)
    folder = tmp_path / "TST_001/2026-11-20/001"
    (folder / "alf").mkdir(parents=True)
    spool.add(result("TST_001", session, first, outputs=tuple(map(output, TIMES[:2]))))
    assert writer.run().n_sent == 1
    fake.world.protect("_ibl_leftCamera.times.npy")
    fake.world.names_all_files = names_all
    (folder / TIMES[1]).write_bytes(b"new")
    fake.requests.clear()
    others = [output(f"alf/task_{n:02}/_ibl_leftCamera.features.pqt") for n in range(18)]
    changed = (output(TIMES[0], "new"), output_of(folder, TIMES[1]), *others)
    spool.add(result("TST_001", session, second, n=1, folder=str(folder), outputs=changed))
    assert writer.run().problems == ()
    assert fake.n_requests("GET", "/datasets") == 1
    assert len(calls(fake)) == 2
    [moved] = folder.glob("alf/#*#/*.npy")
    assert moved.read_bytes() == b"new"
    hashes = {row["name"]: row["hash"] for row in fake.world.datasets.values() if row["collection"] == "alf"}
    assert hashes["_ibl_bodyCamera.times.npy"] == changed[0].md5
    assert len(fake.world.files_of(session)) == 2 + 1 + 18


# -- the rest of a result ---------------------------------------------------------------------------------------------


def test_a_task_that_cannot_be_changed_is_set_aside_in_the_end(fake, spool, alyx, monkeypatch) -> None:
    session, [bad, good] = add_tasks(fake.world, "TST_001", 2)
    spool.add(result("TST_001", session, bad))
    handler = endpoints._HANDLERS["tasks"]

    def fails(world, call, key):
        if call.method == "PATCH" and key == bad:
            raise endpoints.failed("out of memory")
        return handler(world, call, key)

    monkeypatch.setitem(endpoints._HANDLERS, "tasks", fails)
    now_s = [1e9]
    writer = Writer(spool, alyx, PLACE, lambda: now_s[0])
    for n in range(1, MOST_FAILURES + 1):
        report = writer.run()
        assert (report.n_sent, report.n_dead, report.n_left) == (0, int(n == MOST_FAILURES), int(n < MOST_FAILURES))
        now_s[0] += 600
    assert "out of memory" in spool.dead()[0].reason
    spool.add(result("TST_001", session, good, n=1))
    assert writer.run().n_sent == 1


def test_a_session_that_gets_no_answer_does_not_keep_the_results_of_others(fake, spool) -> None:
    made = {}
    for subject in ("TST_001", "TST_002", "TST_003"):
        session, [task] = add_tasks(fake.world, subject, 1)
        spool.add(result(subject, session, task, outputs=(output(TIMES[0]),)))
        made[subject] = (session, task)
    silent = made["TST_001"][1]
    path = f"/tasks/{silent if isinstance(silent, str) else silent['id']}"
    fake.faults.plan("drop_before", "PATCH", path, times=1000)
    limits = Limits(per_minute=6e5, patience_s=0.5, backoff=Backoff(0.001, 0.01, 12, 12))
    report = Writer(spool, Alyx(Access(fake.url, "test_user", Token(TOKEN)), limits), PLACE).run()
    assert (report.n_sent, report.n_left, report.n_dead) == (2, 1, 0)
    assert len(report.problems) == 1
    assert [bool(fake.world.files_of(session)) for session, _ in made.values()][1:] == [True, True]


def test_an_offline_result_whose_session_is_not_found_changes_no_task_of_another_session(
    fake, spool, alyx, monkeypatch
) -> None:
    _, [other] = add_tasks(fake.world, "TST_002", 1)
    fake.world.add_session("TST_001")
    spool.add(result("TST_001", "", ""))
    handler = endpoints._HANDLERS["sessions"]

    def fails(world, call, key):
        if call.query.get("subject") == "TST_001":
            raise endpoints.failed("out of memory")
        return handler(world, call, key)

    monkeypatch.setitem(endpoints._HANDLERS, "sessions", fails)
    now_s = [1e9]
    writer = Writer(spool, alyx, PLACE, lambda: now_s[0])
    for _ in range(MOST_FAILURES):
        report = writer.run()
        now_s[0] += 600
    assert report.n_dead == 1
    assert fake.world.tasks[other]["status"] == "Started"
    assert fake.n_requests("GET", "/tasks") == 0


def test_a_row_without_status_does_not_hide_the_task_of_an_offline_result(fake, spool, writer) -> None:
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    fake.world.add_task(session, "poison", status=None)
    spool.add(result("TST_001", "", ""))
    assert writer.run().n_sent == 1
    assert fake.world.tasks[task]["status"] == "Complete"


def test_a_result_that_comes_while_the_spool_is_read_is_known(fake, alyx, tmp_path, monkeypatch) -> None:
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    outbox = SpoolOutbox(alyx, tmp_path, REPOSITORY)
    pending = outbox.spool.pending
    put = threading.Thread(target=outbox.put, args=(result("TST_001", session, task),))

    def slow():
        found = pending()
        if not put.ident:
            put.start()
            put.join(0.3)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(outbox.spool, "pending", slow)
        outbox.send_all()
        put.join()
    assert [letter.result.task_id for letter in outbox.spool.pending()] == [task]
    assert outbox.is_spooled(task)


def test_results_wait_for_the_others_of_their_session_while_it_runs_and_not_for_ever(
    fake, alyx, tmp_path, monkeypatch
) -> None:
    running, tasks = add_tasks(fake.world, "TST_001", 2)
    ended, [other] = add_tasks(fake.world, "TST_002", 1)
    sessions = {running}
    outbox = SpoolOutbox(alyx, tmp_path, REPOSITORY)
    outbox.in_flight = lambda: sessions
    outbox.put(result("TST_001", running, tasks[0]))
    outbox.put(result("TST_002", ended, other))

    with outbox.sending(0.01):
        wait_until(lambda: not outbox.is_spooled(other))
        assert outbox.is_spooled(tasks[0])
        outbox.put(result("TST_001", running, tasks[1], n=1))
        sessions.clear()
        wait_until(lambda: not outbox.spooled())
        assert [len(files) for files in calls(fake)] == [1, 2]
        sessions.add(running)
        monkeypatch.setattr("ibl_dask.alyx.outbox.LONGEST_HOLD_S", 0.05)
        outbox.put(result("TST_001", running, tasks[1], n=2))
        wait_until(lambda: not outbox.spooled())
        outbox.put(result("TST_001", running, tasks[1], n=3))
    assert not outbox.spooled()


def test_results_of_a_session_that_ends_while_the_spool_is_read_share_a_call(fake, alyx, tmp_path, monkeypatch) -> None:
    session, tasks = add_tasks(fake.world, "TST_001", 2)
    sessions = {session}
    outbox = SpoolOutbox(alyx, tmp_path, REPOSITORY)
    outbox.in_flight = lambda: frozenset(sessions)
    outbox.put(result("TST_001", session, tasks[0]))
    pending = Spool.pending

    def end_after_reading(self):
        found = pending(self)
        if sessions:
            outbox.spool.add(result("TST_001", session, tasks[1], n=1))
            sessions.clear()
        return found

    monkeypatch.setattr(Spool, "pending", end_after_reading)
    outbox.send_all(is_early=True)
    assert calls(fake) == []
    outbox.send_all(is_early=True)
    assert [len(files) for files in calls(fake)] == [2]


def test_the_records_of_datasets_are_returned_as_alyx_answered_them(fake, alyx, tmp_path) -> None:
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    outbox = SpoolOutbox(alyx, tmp_path, REPOSITORY)
    outbox.put(result("TST_001", session, task, outputs=(output(TIMES[0]),)))
    [record] = outbox.send([task])[task]
    wanted = {"path": TIMES[0], "name": "_ibl_bodyCamera.times.npy", "collection": "alf", "file_size": 100}
    assert {key: record[key] for key in wanted} == wanted
    assert record["file_records"]
    assert record["id"] in fake.world.datasets


def test_two_programs_that_create_one_task_at_once_both_get_it(fake, alyx) -> None:
    session = fake.world.add_session("TST_001")
    fake.world.post_pause_s = 0.3
    specs = [TaskSpec("VideoCompress", "ibllib.pipes.video_tasks.VideoCompress")]
    found = []
    threads = [threading.Thread(target=lambda: found.append(register_tasks(alyx, session, specs))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [rows[0]["id"] for rows, _ in found] == list(fake.world.tasks) * 2
    assert sorted(n_new for _, n_new in found) == [0, 1]
