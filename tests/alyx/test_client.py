"""The client of Alyx: it tries again what may succeed, gives up what cannot, and shows no token."""

import copy
import json
import pickle
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from fake_alyx import PNG, endpoints
from hypothesis import given, settings
from hypothesis import strategies as st

from ibl_dask.alyx.answers import Answer, judge, retry_after_s
from ibl_dask.alyx.client import Alyx, Limits, fetch_token, is_duplicate, status_of
from ibl_dask.alyx.credentials import Access, Token, read_access, read_token_file
from ibl_dask.alyx.data_login import read_data_login
from ibl_dask.alyx.pacing import Backoff, TokenBucket
from ibl_dask.errors import AlyxBusy, AlyxLoginFailed, AlyxRefused, AlyxUnreachable, UsageError
from ibl_dask.tasks.external.environments import Database

TOKEN = "0" * 39 + "1"


class Clock:
    """Time that passes only in pauses."""

    def __init__(self):
        self.now_s, self.pauses = 0.0, []

    def __call__(self):
        return self.now_s

    def sleep(self, pause_s):
        self.pauses.append(pause_s)
        self.now_s += pause_s


def timed(fake, **limits):
    clock = Clock()
    given = {"per_minute": 6e4, "read_s": 20.0, **limits}
    access = Access(fake.url, "test_user", Token(TOKEN))
    return Alyx(access, Limits(**given), clock=clock, sleep=clock.sleep, chance=lambda: 1.0), clock


# -- tries ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["500", "502", "drop_before", "drop_after", "hang_before", "hang_after"])
def test_a_passing_failure_is_tried_again_after_growing_pauses(fake, kind):
    hangs = kind.startswith("hang")
    alyx, clock = timed(fake, read_s=0.7 if hangs else 20.0)
    pause = alyx._sleep

    def sleep(pause_s):
        alyx.limits = replace(alyx.limits, read_s=20.0)  # what is tried again is answered, however late
        pause(pause_s)

    alyx._sleep = sleep
    fake.faults.hang_s = 1.5
    session = fake.world.add_session("TST_001")
    n_failures = 1 if hangs else 3
    fake.faults.plan(kind, times=n_failures)
    assert alyx.change("sessions", session, {"qc": "PASS"})["qc"] == "PASS"
    assert clock.pauses == [1.0, 2.0, 4.0][:n_failures]
    assert alyx.n_requests == fake.n_requests() == n_failures + 1


def test_a_server_that_stays_away_is_given_up_with_advice(fake):
    alyx, clock = timed(fake)
    fake.stop()
    with pytest.raises(AlyxUnreachable, match=r"in 7 tries.*spool"):
        alyx.rows("labs")
    assert clock.pauses == [1, 2, 4, 8, 16, 32]


def test_an_error_of_the_server_is_tried_a_few_times_only(fake):
    alyx, _ = timed(fake)
    fake.faults.rates = {"500": 1.0}
    with pytest.raises(AlyxUnreachable, match="status 500: the database system is starting up, in 4 tries"):
        alyx.rows("labs")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"filenames": ["alf/no.suchtype.npy"]}, "No dataset type found"),
        ({"filenames": ["alf/_ibl_leftCamera.times.xyz"]}, "DataFormat matching query does not exist"),
        ({"created_by": "nobody"}, "LabMember matching query does not exist"),
        ({"name": "no_repo"}, "The specified repository does not exist"),
        ({"path": "nobody/2026-11-20/001"}, "A subject with nickname"),
        ({"path": None}, "The path argument is required"),
        ({"qc": "GREAT"}, "Invalid QC value"),
    ],
)
def test_a_mistake_of_the_caller_is_not_tried_again_though_alyx_answers_500(fake, alyx, body, text):
    fake.world.add_session("TST_001")
    good = {
        "created_by": "test_user",
        "path": "TST_001/2026-11-20/001",
        "filenames": ["alf/_ibl_leftCamera.times.npy"],
        "name": "cortexlab_local",
    }
    with pytest.raises(AlyxRefused, match=text):
        alyx.request("POST", "/register-file", body={**good, **body})
    assert fake.n_requests() == 1


def test_a_list_with_a_task_without_a_status_is_an_error_that_names_the_cause(fake, alyx):
    session = fake.world.add_session("TST_001")
    with pytest.raises(AlyxRefused):
        alyx.create("tasks", {"name": "a", "session": session, "arguments": {}})
    with pytest.raises(AlyxRefused, match="the task without a status"):
        alyx.rows("tasks", session=session)


def test_a_refusal_keeps_status_and_reason_through_pickling(fake, alyx):
    session = fake.world.add_session("TST_001")
    task = {"name": "a", "session": session, "arguments": {}, "status": "Waiting"}
    alyx.create("tasks", task)
    with pytest.raises(AlyxRefused) as caught:
        alyx.create("tasks", task)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (status_of(again), is_duplicate(again), str(again)) == (400, True, str(caught.value))


def test_a_page_of_html_instead_of_an_answer_is_no_success(fake, alyx, monkeypatch):
    from fake_alyx import endpoints

    monkeypatch.setitem(endpoints._HANDLERS, "uploaded", lambda *_: (200, "<html>welcome</html>"))
    with pytest.raises(AlyxUnreachable, match="no JSON"):
        alyx.read("uploaded", "x")


@pytest.mark.parametrize(
    ("answer", "is_of_one"),
    [
        ((200, {"username": "test_user"}), True),
        ((404, {"detail": "No LabMember matches the given query."}), True),
        ((500, {"detail": "the database system is starting up"}), False),
        ((502, {"detail": "bad gateway"}), False),
        ((403, {"detail": "Invalid token."}), False),
        ((200, "<html>We are back soon</html>"), False),
    ],
)
def test_an_error_of_one_row_is_told_from_that_of_the_server_by_a_plain_request(
    fake, alyx, monkeypatch, answer, is_of_one
):
    session = fake.world.add_session("TST_001")
    fake.faults.plan("500", "GET", f"/sessions/{session}", times=10**6)
    monkeypatch.setitem(endpoints._HANDLERS, "users", lambda *_: answer)
    with pytest.raises(AlyxUnreachable) as caught:
        alyx.read("sessions", session)
    n_requests = fake.n_requests()
    assert alyx.is_of_one(caught.value) is is_of_one
    assert fake.n_requests() == n_requests + 1


def test_a_server_that_asks_to_wait_or_refuses_the_token_fails_for_all(fake, alyx):
    assert not alyx.is_of_one(AlyxBusy("Alyx asked to wait"))
    assert not alyx.is_of_one(AlyxLoginFailed("no"))
    assert alyx.is_of_one(AlyxRefused("no", got="status 404: none"))
    assert not alyx.is_of_one(OSError("the disk is full"))
    assert fake.n_requests() == 0


def test_nan_is_refused_before_anything_is_sent(fake, alyx):
    with pytest.raises(AlyxRefused, match="NaN"):
        alyx.change("sessions", "x", {"extended_qc": {"a": float("nan")}})
    assert fake.n_requests() == 0


def test_a_file_is_sent_whole_each_time(fake):
    alyx, _ = timed(fake)
    session = fake.world.add_session("TST_001")
    fake.faults.plan("502", "POST", times=2)
    body = {"user": "test_user", "content_type": "session", "object_id": session, "text": "x", "json": {"a": 1}}
    note = alyx.create("notes", body, files={"image": ("a.png", PNG, "image/png")})
    assert list(fake.world.images.values()) == [PNG]
    assert note["json"] == {"a": 1}


# -- the pace ---------------------------------------------------------------------------------------------------------


def test_requests_stay_below_the_limit_of_the_server(fake):
    fake.throttle_per_minute = 550
    alyx, clock = timed(fake, per_minute=300)
    for _ in range(60):
        alyx.read("labs", "cortexlab")
    # A burst of 20 after a quiet time, then one each 0.2 s.
    assert clock.now_s == pytest.approx(40 / 5, abs=0.3)


@settings(max_examples=40)
@given(st.lists(st.floats(0.0, 5.0), max_size=200), st.floats(10.0, 600.0))
def test_no_minute_has_more_turns_than_the_limit_and_one_burst(pauses, per_minute):
    clock = Clock()
    bucket = TokenBucket(per_minute, clock)
    starts = []
    for pause_s in pauses:
        clock.sleep(pause_s)
        clock.sleep(bucket.take())
        starts.append(clock.now_s)
    for start in starts:
        assert sum(start <= other < start + 60 for other in starts) <= per_minute + max(1.0, per_minute / 15) + 1


@pytest.mark.parametrize("status", ["throttle"])
def test_a_request_to_wait_is_obeyed_and_not_counted_as_a_try(fake, status):
    alyx, clock = timed(fake, backoff=Backoff(most_tries=1))
    fake.faults.retry_after = "7"
    fake.faults.plan(status, times=3)
    assert alyx.read("labs", "cortexlab")["name"] == "cortexlab"
    assert clock.pauses == [pytest.approx(7, abs=0.01)] * 3


def test_a_wait_beyond_the_patience_of_the_call_is_an_error_and_later_calls_send_nothing(fake):
    alyx, clock = timed(fake, patience_s=60)
    fake.faults.retry_after = "300"
    fake.faults.plan("throttle")
    for _ in range(2):
        with pytest.raises(AlyxBusy, match="300 s"):
            alyx.read("labs", "cortexlab")
    assert fake.n_requests() == 1
    assert alyx.parked_s == pytest.approx(300)
    clock.sleep(301)
    assert alyx.read("labs", "cortexlab")


def test_the_time_to_wait_may_be_a_date():
    answer = Answer(429, "", {"Retry-After": "Sat, 21 Nov 2026 12:00:48 GMT"})
    assert retry_after_s(answer, datetime(2026, 11, 21, 12, tzinfo=UTC)) == 48
    assert retry_after_s(Answer(429, "", {"Retry-After": "soon"})) == 0


@settings(max_examples=40)
@given(st.integers(100, 599), st.text(max_size=40) | st.dictionaries(st.text(max_size=5), st.text(max_size=5)))
def test_any_answer_is_judged(status, body):
    answer = Answer(status, body if isinstance(body, str) else json.dumps(body), {})
    assert (judge(answer) == "done") == (200 <= status < 300)
    assert "\n" not in answer.detail


# -- lists ------------------------------------------------------------------------------------------------------------


def test_a_list_of_several_pages_whose_ties_come_in_any_order_is_complete(fake, alyx):
    session = fake.world.add_session("TST_001")
    tasks = {fake.world.add_task(session, f"t{n}") for n in range(1320)}
    one_pass = set()
    for offset in (0, 250, 500, 750, 1000, 1250):
        page = alyx.request("GET", "/tasks", query={"limit": 250, "offset": offset})
        one_pass |= {row["id"] for row in page["results"]}
    assert len(one_pass) < 1320
    rows = alyx.rows("tasks", status="Waiting")
    assert len(rows) == 1320
    assert {row["id"] for row in rows} == tasks


def test_a_list_that_changes_between_its_pages_lacks_no_row_that_stayed(fake, alyx, monkeypatch):
    """The number of rows that were seen is right by chance: one left the list, and another one moved between pages."""
    session = fake.world.add_session("TST_001")
    tasks = [fake.world.add_task(session, f"t{n}", level=n) for n in range(1100)]  # an order without ties
    usual = endpoints._HANDLERS["tasks"]

    def handler(world, call, key):
        if call.query.get("offset") == "1000":
            world.tasks[tasks[0]]["status"] = "Complete"
        return usual(world, call, key)

    monkeypatch.setitem(endpoints._HANDLERS, "tasks", handler)
    assert {row["id"] for row in alyx.rows("tasks", status="Waiting")} >= set(tasks[1:])


def test_a_list_of_one_page_takes_one_request(fake, alyx):
    session = fake.world.add_session("TST_001")
    for n in range(3):
        fake.world.add_task(session, f"t{n}")
    assert len(alyx.rows("tasks", session=session)) == 3
    assert fake.n_requests() == 1


def test_lists_without_ids_are_told_apart_by_address_or_name(fake, alyx):
    assert {row["name"] for row in alyx.rows("data-repository")} == {"cortexlab_local", "flatiron_cortexlab"}


@pytest.mark.parametrize("key", ["a/b", "..", ".", "a?b=c", "a#b", "ä b", "%2e%2e"])
def test_a_key_cannot_lead_to_another_endpoint(fake, alyx, key):
    with pytest.raises(AlyxRefused, match="404"):
        alyx.read("subjects", key)
    [(_, path, query, _)] = fake.requests
    assert path == f"/subjects/{key}"
    assert query == {}


# -- credentials ------------------------------------------------------------------------------------------------------


def test_a_password_is_exchanged_for_a_token_once(fake):
    token = fetch_token(fake.url, "test_user", "secret one")
    assert Alyx(Access(fake.url, "test_user", token)).read("users", "test_user")["username"] == "test_user"
    with pytest.raises(AlyxLoginFailed, match="Unable to log in") as caught:
        fetch_token(fake.url, "test_user", "secret two")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["f" * 40, "0" * 39 + "3"])
def test_a_token_that_does_not_do_is_told_at_once(fake, token):
    session = fake.world.add_session("TST_001")
    stranger = Alyx(Access(fake.url, "test_user", Token(token)))
    with pytest.raises(AlyxLoginFailed, match="token"):
        stranger.change("sessions", session, {"qc": "PASS"})
    assert fake.n_requests() == 1


def test_a_netrc_does_not_replace_the_token(fake, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    alyx, _ = timed(fake)
    assert alyx.read("labs", "cortexlab")


def test_a_token_is_read_from_a_file_of_its_owner_alone(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    assert read_token_file(file).reveal() == TOKEN
    variables = {"IBL_DASK_DATA_USER": "me", "IBL_DASK_DATA_PASSWORD_FILE": str(file)}
    assert read_data_login(variables).password == TOKEN
    for mode in (0o640, 0o604, 0o644):
        file.chmod(mode)
        for read in (lambda: read_token_file(file), lambda: read_data_login(variables)):
            with pytest.raises(AlyxLoginFailed, match="0600"):
                read()
    with pytest.raises(AlyxLoginFailed, match="cannot be read"):
        read_token_file(tmp_path / "absent")


def test_access_comes_from_variables_and_names_what_is_missing(tmp_path):
    variables = {"IBL_DASK_ALYX_URL": "https://alyx.org/", "IBL_DASK_ALYX_USER": "me", "IBL_DASK_ALYX_TOKEN": TOKEN}
    assert read_access(environment=variables).url == "https://alyx.org"
    for name, kind in (("URL", UsageError), ("USER", UsageError), ("TOKEN", AlyxLoginFailed)):
        some = {key: value for key, value in variables.items() if not key.endswith(name)}
        with pytest.raises(kind):
            read_access(environment=some)


@pytest.mark.parametrize("text", ["", "short", "a b c d e f g h", "x" * 20 + "\r\nX-Header: 1"])
def test_what_is_no_token_is_refused_without_being_shown(text):
    with pytest.raises(AlyxLoginFailed) as caught:
        Token(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "alyx.org",
        "ftp://alyx.org",
        "file:///etc/passwd",
        "https://",
        "https://alyx.org:port",
        "https://[alyx.org",
        "https://me:secret@alyx.org",
        "https://:secret@alyx.org",
        "https://secret@alyx.org",
        "https://me:se/secret@alyx.org",
        "me:secret@alyx.org",
        "https://alyx.org/me:secret@",
        "https://alyx.org/?token=secret",
        "https://alyx.org/#secret",
        "alyx.org/?secret",
        "https://alyx.org/secret\nx",
    ],
)
def test_what_is_no_address_is_refused_and_no_secret_in_it_is_shown(url):
    for make in (
        lambda: Access(url, "me", Token(TOKEN)),
        lambda: Database(url, "me"),
        lambda: read_data_login({"IBL_DASK_DATA_SERVER": url or "x"}),
    ):
        with pytest.raises(UsageError) as caught:
            make()
        assert "secret" not in str(caught.value)
        assert caught.value.do


def test_a_token_cannot_be_printed_pickled_or_copied():
    access = Access("https://alyx.org", "me", Token(TOKEN))
    assert TOKEN not in f"{access} {access!r} {access.token} {access.token!r} {[access.token]}"
    for spread in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied"):
            spread(access)


# -- notices ----------------------------------------------------------------------------------------------------------


def test_notices_of_the_server_are_shown_once(fake, alyx, caplog):
    fake.notices = {"Alyx-API-Notice": "!!! moving on Monday", "Deprecation": "@1688169599", "Sunset": "2027"}
    for _ in range(3):
        alyx.rows("labs")
        alyx.read("labs", "cortexlab")
    assert caplog.text.count("moving on Monday") == 1
    assert caplog.text.count("Deprecation of labs") == 1


def test_threads_share_a_client(fake, alyx):
    session = fake.world.add_session("TST_001")
    found = []

    def work(n):
        task = {"name": f"t{n}", "session": session, "arguments": {}, "status": "Waiting"}
        found.append(alyx.create("tasks", task)["name"])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == len(fake.world.tasks) == alyx.n_requests == 12


# -- ONE --------------------------------------------------------------------------------------------------------------


def test_one_registers_files_through_this_client_and_writes_nothing_in_the_home_folder(
    fake, alyx, tmp_path, monkeypatch
):
    from one.registration import RegistrationClient

    from ibl_dask.alyx.one_client import OneClient
    from ibl_dask.alyx.register_calls import Quiet

    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    session = fake.world.add_session("TST_001")
    folder = tmp_path / "cortexlab/Subjects/TST_001/2026-11-20/001"
    file = folder / "alf/_ibl_leftCamera.times.npy"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"times")
    for n in range(300):
        fake.world.add_task(session, f"t{n}")
    one = OneClient(alyx, tmp_path, Quiet(0.1, 0.0))

    class One:
        cache_dir, alyx = tmp_path, one

    client = RegistrationClient(One())
    fake.faults.plan("502")
    [row] = client.register_files([file], default=True, repository="cortexlab_local")
    assert row["name"] == file.name
    assert len(list(one.rest("tasks", "list", session=session))) == 300
    assert one.rest("sessions", "read", id=session)["id"] == session
    one.json_field_update("sessions", session, "extended_qc", {"a": 1})
    assert fake.world.sessions[session]["extended_qc"] == {"a": 1}
    fake.world.protect(file.name)
    file.write_bytes(b"others")
    [row] = client.register_files([file], default=True, repository="cortexlab_local")
    assert row["revision"]
    assert list(home.iterdir()) == []
