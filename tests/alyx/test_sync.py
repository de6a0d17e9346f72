"""Results in the spool reach Alyx, each once, and nothing of them is lost."""

import json
import stat

import pytest
from alyx_results import REPOSITORY, add_tasks, output, output_of, result
from fake_alyx import PNG, endpoints

from ibl_dask.alyx.client import Alyx
from ibl_dask.alyx.credentials import Access, Token
from ibl_dask.alyx.register_calls import Quiet
from ibl_dask.alyx.registrar import Registration
from ibl_dask.alyx.spool import Spool
from ibl_dask.alyx.sync import MOST_FAILURES, Writer
from ibl_dask.alyx.task_result import Note
from ibl_dask.errors import AlyxLoginFailed, SessionLocked, UnusableFile
from ibl_dask.store.lock import LOCK_NAME, holding

QUIET = Quiet(0.05, 0.0)
PLACE = Registration(REPOSITORY, "cortexlab", quiet=QUIET)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "alyx")


@pytest.fixture
def writer(spool, alyx):
    return Writer(spool, alyx, PLACE)


def test_a_result_registers_its_file_merges_its_checks_and_completes_its_task(fake, spool, writer):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    fake.world.sessions[session]["extended_qc"] = {"behavior": "PASS"}
    spool.add(result("TST_001", session, task))
    report = writer.run()
    assert (report.n_sent, report.n_left, report.n_dead, report.problems) == (1, 0, 0, ())
    row = fake.world.tasks[task]
    assert (row["status"], row["log"], row["version"], row["time_elapsed_secs"]) == (
        "Complete",
        "log of task 0",
        "0.1.0",
        1.5,
    )
    assert fake.world.files_of(session) == ["alf/task_00/_ibl_leftCamera.times.npy"]
    assert fake.world.sessions[session]["extended_qc"] == {"behavior": "PASS", "_video_0": ["PASS", 0]}
    assert fake.world.sessions[session]["qc"] == "PASS"
    assert spool.n_pending() == 0
    [line] = spool.sent().values()
    assert (
        line["datasets"].values() == {row["id"] for row in fake.world.datasets.values()} or len(line["datasets"]) == 1
    )


def test_many_results_of_a_session_take_one_request_each_and_three_for_all_their_files_and_checks(fake, spool, writer):
    session, tasks = add_tasks(fake.world, "TST_001", 10)
    for n, task in enumerate(tasks):
        spool.add(result("TST_001", session, task, n=n))
    report = writer.run()
    lists = fake.n_requests("GET", "/dataset-types") + fake.n_requests("GET", "/data-formats")
    assert (report.n_sent, report.n_requests - lists) == (10, 13)
    assert len(fake.world.sessions[session]["extended_qc"]) == 10
    assert {row["status"] for row in fake.world.tasks.values()} == {"Complete"}


def test_two_hundred_files_go_in_calls_of_fifty(fake, spool, writer):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    outputs = tuple(output(f"alf/task_{n:03}/_ibl_leftCamera.times.npy") for n in range(120))
    spool.add(result("TST_001", session, task, outputs=outputs))
    assert writer.run().n_sent == 1
    sizes = [len(json.loads(row[3])["filenames"]) for row in fake.requests if row[1] == "/register-file"]
    assert sizes == [50, 50, 20]
    assert len(fake.world.files_of(session)) == 120


def test_results_wait_on_disk_while_alyx_is_down_and_are_sent_once_it_is_back(fake, spool, writer):
    session, tasks = add_tasks(fake.world, "TST_001", 3)
    fake.stop()
    for n, task in enumerate(tasks):
        spool.add(result("TST_001", session, task, n=n))
    report = writer.run()
    assert (report.n_sent, report.n_left, report.n_dead) == (0, 3, 0)
    assert "Alyx gives no answer" in report.problems[0]
    fake.start()
    assert writer.run().n_sent == 3


@pytest.mark.parametrize("path", ["/register-file", "/tasks", "/sessions", "/notes"])
def test_a_request_that_was_carried_out_although_its_answer_was_lost_is_not_carried_out_twice(
    fake, spool, hasty, path, tmp_path
):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    (tmp_path / "plot.png").write_bytes(PNG)
    notes = (Note("video QC", "plot.png"), Note("a remark"))
    spool.add(result("TST_001", session, task, folder=str(tmp_path), notes=notes))
    method = {"/register-file": "POST", "/notes": "POST"}.get(path, "PATCH")
    fake.faults.plan("drop_after", method, path)
    fake.faults.plan("hang_after", method, path)
    assert Writer(spool, hasty, PLACE).run().n_sent == 1
    assert len(fake.world.files_of(session)) == 1
    assert sorted(note["text"] for note in fake.world.notes.values()) == ["a remark", "video QC"]
    assert list(fake.world.images.values()) == [PNG]
    assert fake.world.tasks[task]["status"] == "Complete"


def test_a_writer_that_is_killed_at_any_request_loses_and_doubles_nothing(fake, spool, alyx, tmp_path):
    class Killed(BaseException):
        pass

    session, tasks = add_tasks(fake.world, "TST_001", 2)
    (tmp_path / "plot.png").write_bytes(PNG)
    for n, task in enumerate(tasks):
        spool.add(result("TST_001", session, task, n=n, folder=str(tmp_path), notes=(Note(f"plot {n}", "plot.png"),)))
    send, n_kills = alyx._send, 0
    for n_before in range(40):
        left = [n_before]

        def send_until_killed(*args, left=left):
            if not left[0]:
                raise Killed
            left[0] -= 1
            answer = send(*args)
            if not left[0]:
                raise Killed  # carried out, and nobody hears of it
            return answer

        alyx._send = send_until_killed
        try:
            Writer(spool, alyx, PLACE).run()
        except Killed:
            n_kills += 1
            continue
        break
    assert n_kills > 5
    assert {row["n_times"] for row in fake.world.datasets.values()} == {1}
    assert spool.n_pending() == 0
    assert len(fake.world.files_of(session)) == 2
    assert sorted(note["text"] for note in fake.world.notes.values()) == ["plot 0", "plot 1"]
    assert len(fake.world.sessions[session]["extended_qc"]) == 2


def test_a_file_without_a_dataset_type_is_named_and_costs_the_others_nothing(fake, spool, writer):
    session, tasks = add_tasks(fake.world, "TST_001", 2)
    good, bad, odd = output("alf/_ibl_leftCamera.times.npy"), output("alf/no.suchtype.npy"), output("alf/a.b.xyz")
    spool.add(result("TST_001", session, tasks[0], outputs=(bad, good, odd)))
    spool.add(result("TST_001", session, tasks[1], n=1))
    report = writer.run()
    assert (report.n_sent, report.n_dead, report.n_left) == (1, 1, 0)
    assert fake.world.files_of(session) == ["alf/_ibl_leftCamera.times.npy", "alf/task_01/_ibl_rightCamera.times.npy"]
    [dead] = spool.dead()
    assert (dead.session, dead.task) == ("TST_001/2026-11-20/001", "Task0")
    assert "no.suchtype.npy" in dead.reason
    row = fake.world.tasks[tasks[0]]
    assert row["status"] == "Errored"
    assert "log of task 0" in row["log"]
    assert "a.b.xyz" in row["log"]

    fake.world.types.append({"name": "no.suchtype", "filename_pattern": "no.suchtype*"})
    fake.world.formats.append({"name": "xyz", "file_extension": ".xyz"})
    fake.world.types.append({"name": "a.b", "filename_pattern": "a.b*"})
    assert spool.revive() == 1
    assert Writer(spool, writer._alyx, PLACE).run().n_sent == 1
    assert len(fake.world.files_of(session)) == 4
    assert fake.world.tasks[tasks[0]]["status"] == "Complete"


def test_what_was_set_aside_is_not_put_back_while_another_process_sends(spool):
    """It could set the same result aside at that moment, and both would remove it."""
    with spool.writing(), pytest.raises(SessionLocked):
        spool.revive()


def test_a_damaged_record_of_a_dataset_costs_the_other_files_nothing(fake, spool, writer):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    first, second, third = (output(f"alf/_ibl_{label}Camera.times.npy") for label in ("left", "right", "body"))
    spool.add(result("TST_001", session, task, outputs=(second,)))
    assert writer.run().n_sent == 1
    [row] = fake.world.datasets.values()
    fake.world.datasets["again"] = {**row, "id": "again"}
    spool.add(result("TST_001", session, task, n=1, outputs=(first, second, third)))
    report = writer.run()
    assert report.n_dead == 1
    assert "delete one of the two records" in report.problems[0]
    assert {"alf/_ibl_leftCamera.times.npy", "alf/_ibl_bodyCamera.times.npy"} < set(fake.world.files_of(session))


def test_an_answer_without_the_datasets_is_no_success(fake, spool, alyx, monkeypatch):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task))
    monkeypatch.setitem(endpoints._HANDLERS, "register-file", lambda *_: (201, []))
    now_s = [1e9]
    writer = Writer(spool, alyx, PLACE, lambda: now_s[0])
    for n in range(1, MOST_FAILURES + 1):
        for _ in range(3):  # passes that follow at once are not counted
            report = writer.run()
            now_s[0] += 1
            if report.n_dead:
                break
        assert (report.n_sent, report.n_dead) == (0, int(n == MOST_FAILURES))
        now_s[0] += 600
    assert "1 datasets" in spool.dead()[0].reason
    assert fake.world.tasks[task]["status"] == "Errored"


def test_results_outlast_a_server_that_answers_everything_with_errors_for_a_day(fake, spool, alyx):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task))
    now_s = [1e9]
    writer = Writer(spool, alyx, PLACE, lambda: now_s[0])
    fake.faults.rates = {"500": 1.0}
    for _ in range(MOST_FAILURES + 3):
        report = writer.run()
        assert (report.n_sent, report.n_dead, report.n_left) == (0, 0, 1)
        now_s[0] += 3 * 3600
    fake.faults.rates = {}
    assert writer.run().n_sent == 1


def test_a_server_that_fails_for_one_result_does_not_hold_up_the_others(fake, spool, writer):
    bad, [bad_task] = add_tasks(fake.world, "TST_001", 1)
    good, [good_task] = add_tasks(fake.world, "TST_002", 1)
    spool.add(result("TST_001", bad, bad_task))
    spool.add(result("TST_002", good, good_task))
    fake.faults.plan("500", "POST", "/register-file", times=12)
    report = writer.run()
    assert (report.n_sent, report.n_left, report.n_dead) == (1, 1, 0)
    assert fake.world.tasks[bad_task]["status"] == "Started"
    assert writer.run().n_sent == 1


def test_a_wrong_token_stops_the_pass_and_sets_nothing_aside(fake, spool):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task, outputs=()))
    stranger = Alyx(Access(fake.url, "test_user", Token("f" * 40)))
    with pytest.raises(AlyxLoginFailed, match="Invalid token"):
        Writer(spool, stranger, PLACE).run()
    assert (spool.n_pending(), spool.dead()) == (1, [])


def test_throttling_parks_the_writer_and_keeps_the_results(fake, spool, writer):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task, outputs=()))
    fake.faults.retry_after = "600"
    fake.faults.plan("throttle")
    report = writer.run()
    assert (report.n_sent, report.n_left) == (0, 1)
    assert 500 < report.retry_in_s <= 600
    n_requests = fake.n_requests()
    assert writer.run().n_left == 1
    assert fake.n_requests() == n_requests


@pytest.mark.parametrize("endpoint", ["dataset-types", "data-formats", "register-file", "sessions", "tasks"])
@pytest.mark.parametrize("body", [{}, [None], {"results": 3, "count": "x"}])
def test_answers_of_another_form_cost_neither_results_nor_those_of_other_sessions(
    fake, spool, writer, monkeypatch, endpoint, body
):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    other, [other_task] = add_tasks(fake.world, "TST_002", 1)
    spool.add(result("TST_001", session, task))
    spool.add(result("TST_002", other, other_task, outputs=(), qc={}, outcome="", n=1))
    handler = endpoints._HANDLERS[endpoint]

    def odd(world, call, key):
        if other_task in call.path:
            return handler(world, call, key)
        return 200, body

    monkeypatch.setitem(endpoints._HANDLERS, endpoint, odd)
    report = writer.run()
    assert fake.world.tasks[other_task]["status"] == "Complete"
    assert report.n_sent + report.n_left + report.n_dead == 2


def test_the_outcome_of_a_session_becomes_worse_and_never_better(fake, spool, writer):
    session, tasks = add_tasks(fake.world, "TST_001", 3)
    seen = []
    for n, outcome in enumerate(("WARNING", "PASS", "CRITICAL")):
        spool.add(result("TST_001", session, tasks[n], n=n, outputs=(), outcome=outcome))
        writer.run()
        seen.append(fake.world.sessions[session]["qc"])
    assert seen == ["WARNING", "WARNING", "CRITICAL"]


def test_what_alyx_would_refuse_in_logs_versions_and_numbers_is_made_fit(fake, spool, writer):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    qc = {"_a": ["PASS", float("nan")], "_b": {"x": float("inf")}, "c\0": "d\0"}
    spool.add(result("TST_001", session, task, log="a\0b\ud800", version="v" * 100, seconds=float("nan"), qc=qc))
    assert writer.run().n_sent == 1
    row = fake.world.tasks[task]
    assert (row["log"], len(row["version"]), row["time_elapsed_secs"]) == ("ab?", 64, None)
    assert fake.world.sessions[session]["extended_qc"] == {"_a": ["PASS", None], "_b": {"x": None}, "c": "d"}


def test_results_of_offline_runs_find_session_and_task_by_name(fake, spool, writer):
    _, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", "", ""))
    spool.add(result("TST_001", "", "", n=7))  # no task of that name in Alyx
    spool.add(result("TST_002", "", "", number=4))  # no such session
    report = writer.run()
    assert (report.n_sent, report.n_dead) == (2, 1)
    assert fake.world.tasks[task]["status"] == "Complete"
    assert "not exactly one session" in spool.dead()[0].reason


def test_a_task_that_was_removed_from_alyx_does_not_keep_its_files_from_being_registered(fake, spool, writer):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task))
    del fake.world.tasks[task]
    assert writer.run().n_sent == 1
    assert len(fake.world.files_of(session)) == 1


# -- protected datasets -----------------------------------------------------------------------------------------------


def protected(fake, spool, writer, tmp_path, content=b"old"):
    """Register a file, protect it, and spool a result with its present content; return its session and folder."""
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    folder = tmp_path / "TST_001/2026-11-20/001"
    path = folder / "alf/_ibl_leftCamera.times.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    spool.add(result("TST_001", session, task, outputs=(output_of(folder, "alf/_ibl_leftCamera.times.npy"),)))
    assert writer.run().n_sent == 1
    fake.world.protect("_ibl_leftCamera.times.npy")
    path.write_bytes(content)
    changed = output_of(folder, "alf/_ibl_leftCamera.times.npy")
    other = output("alf/_ibl_rightCamera.times.npy")
    spool.add(result("TST_001", session, task, n=1, folder=str(folder), outputs=(changed, other)))
    return session, folder


def test_new_content_of_a_protected_dataset_becomes_a_revision_on_disk_and_in_alyx(fake, spool, writer, tmp_path):
    session, folder = protected(fake, spool, writer, tmp_path, b"new")
    assert writer.run().problems == ()
    [path] = folder.glob("alf/#*#/_ibl_leftCamera.times.npy")
    assert path.read_bytes() == b"new"
    assert not (folder / "alf/_ibl_leftCamera.times.npy").exists()
    assert fake.world.files_of(session) == [
        str(path.relative_to(folder)),
        "alf/_ibl_leftCamera.times.npy",
        "alf/_ibl_rightCamera.times.npy",
    ]


def test_unchanged_content_of_a_protected_dataset_is_left_alone(fake, spool, writer, tmp_path):
    session, folder = protected(fake, spool, writer, tmp_path)
    assert writer.run().n_sent == 1
    assert (folder / "alf/_ibl_leftCamera.times.npy").exists()
    assert fake.world.files_of(session) == ["alf/_ibl_leftCamera.times.npy", "alf/_ibl_rightCamera.times.npy"]


@pytest.mark.parametrize("moment", ["before the move", "after the move"])
def test_a_writer_killed_around_the_move_into_a_revision_finishes_it_next_time(
    fake, spool, writer, tmp_path, monkeypatch, moment
):
    class Killed(BaseException):
        pass

    session, folder = protected(fake, spool, writer, tmp_path, b"new")
    import ibl_dask.alyx.revisions as revisions

    finish = revisions.finish_moves

    def killed(result):
        if moment == "after the move":
            finish(result)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(revisions, "finish_moves", killed)
        with pytest.raises(Killed):
            writer.run()
    assert writer.run().problems == ()
    [path] = folder.glob("alf/#*#/_ibl_leftCamera.times.npy")
    assert path.read_bytes() == b"new"
    assert len(fake.world.files_of(session)) == 3


@pytest.mark.parametrize("moment", ["before the move is noted", "after a kill before the move"])
def test_a_file_that_a_later_run_replaced_is_not_moved_into_the_revision_of_an_earlier_result(
    fake, spool, writer, tmp_path, monkeypatch, moment
):
    import ibl_dask.alyx.revisions as revisions

    session, folder = protected(fake, spool, writer, tmp_path, b"new")
    before = fake.world.files_of(session)
    path = folder / "alf/_ibl_leftCamera.times.npy"
    if moment == "after a kill before the move":
        with monkeypatch.context() as patch:
            patch.setattr(revisions, "finish_moves", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                writer.run()
    path.write_bytes(b"even newer")
    [problem] = writer.run().problems
    assert "replaced" in problem
    assert path.read_bytes() == b"even newer"
    assert list(folder.glob("alf/#*#")) == []
    assert sorted({*fake.world.files_of(session)} - {*before}) == ["alf/_ibl_rightCamera.times.npy"]


def test_a_session_that_a_run_holds_keeps_its_protected_files_until_the_run_ended(fake, spool, writer, tmp_path):
    _, folder = protected(fake, spool, writer, tmp_path, b"new")
    (folder / "ibl_dask").mkdir()
    with holding(folder / "ibl_dask" / LOCK_NAME):
        report = writer.run()
        assert (report.n_sent, report.n_left, report.n_dead) == (0, 1, 0)
        assert (folder / "alf/_ibl_leftCamera.times.npy").exists()
    assert writer.run().n_sent == 1


@pytest.mark.parametrize("name", ["~/../../../../../x", "~", "~\0", "~" * 300, "~#/../y"])
def test_a_revision_that_the_server_names_cannot_lead_out_of_the_session(fake, spool, writer, tmp_path, name):
    _, folder = protected(fake, spool, writer, tmp_path, b"new")
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(spool.folder)}
    [row] = fake.world.datasets.values()
    fake.world.datasets["later"] = {**row, "id": "later", "revision": name}
    writer.run()
    fresh = {path for path in tmp_path.rglob("*") if not path.is_relative_to(spool.folder)} - before
    assert not [path for path in fresh if not path.is_relative_to(folder)]
    assert sum(path.read_bytes() == b"new" for path in folder.rglob("*.npy")) == 1


# -- the spool --------------------------------------------------------------------------------------------------------


def test_files_of_the_spool_are_for_their_owner_alone(spool):
    path = spool.add(result("TST_001", "", ""))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"v": 9}', b"\xff\xfe", b'{"v":1,"outputs":[],"notes":[],"session":"../x","task":"a"}'],
)
def test_a_damaged_file_is_set_aside_with_its_content_and_the_others_are_sent(fake, spool, writer, content):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    good = spool.add(result("TST_001", session, task))
    (good.parent / "00000000000000001-damaged.json").write_bytes(content)
    assert writer.run().n_sent == 1
    [dead] = spool.dead()
    assert dead.reason


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "alf/../../x", "C:\\x", "alf/\x00"])
def test_an_output_outside_of_the_session_is_refused_before_it_is_spooled(spool, path):
    with pytest.raises(UnusableFile, match="output"):
        spool.add(result("TST_001", "", "", outputs=(output(path),)))
    assert spool.n_pending() == 0


def test_only_one_process_sends_from_a_spool(spool, writer, alyx):
    with spool.writing(), pytest.raises(SessionLocked, match="another process sends"):
        writer.run()


def test_results_are_sent_in_the_order_in_which_they_were_made(fake, spool, writer):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task, made_s=20.0, status="Complete", log="second"))
    spool.add(result("TST_001", session, task, made_s=10.0, status="Errored", log="first"))
    assert writer.run().n_sent == 2
    assert (fake.world.tasks[task]["status"], fake.world.tasks[task]["log"]) == ("Complete", "second")


def test_a_token_in_the_log_of_a_task_does_not_reach_alyx(fake, spool, writer, alyx):
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task, log=f"printenv: {alyx.access.token.reveal()}"))
    assert writer.run().n_sent == 1
    assert fake.world.tasks[task]["log"] == "printenv: [token]"


def test_no_token_appears_in_spool_messages_or_reports(fake, spool, writer, alyx, caplog):
    caplog.set_level("DEBUG")
    secret = alyx.access.token.reveal()
    session, [task] = add_tasks(fake.world, "TST_001", 1)
    spool.add(result("TST_001", session, task))
    spool.add(result("TST_001", session, task, n=1, outputs=(output("alf/no.suchtype.npy"),)))
    fake.faults.plan("drop_after", "PATCH")
    fake.faults.plan("502", "POST")
    report = writer.run()
    assert (report.n_sent, report.n_dead) == (1, 1)
    assert "try 2" in caplog.text
    files = [path.read_text() for path in spool.folder.rglob("*") if path.is_file()]
    shown = [repr(report), repr(alyx), repr(alyx.access), caplog.text, *map(str, spool.dead()), *files]
    assert not [text for text in shown if secret in text]


def test_the_list_of_what_was_sent_is_begun_anew_when_it_is_long(fake, spool, writer, monkeypatch):
    session, tasks = add_tasks(fake.world, "TST_001", 3)
    monkeypatch.setattr("ibl_dask.alyx.spool.LARGEST_SENT_BYTES", 10)
    results = [result("TST_001", session, task, n=n, outputs=()) for n, task in enumerate(tasks)]
    for each in results:
        spool.add(each)
    assert writer.run().n_sent == 3
    assert len(list(spool.folder.glob("sent*.jsonl"))) == 3
    assert spool.sent().keys() == {each.key for each in results[1:]}
