"""Who may connect, with real processes: certificates that others cannot read and that do not stay, and shut doors."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import distributed
import psutil
import pytest
from batch_here import BatchHere, printed_by
from forked_program import Forked
from program import NAMESPACE, environment, needs_namespaces
from waiting import wait_until

from ibl_dask.deploy.cluster import tls
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.model.events import StepFinished
from ibl_dask.pipeline.run import run
from ibl_dask.store.processes import this_process

FILES = {"ca.pem", "client-key.pem"}
"""Dask has one certificate and one key for all roles."""


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """Return a batch system that this process and those that it starts find."""
    here = BatchHere(tmp_path)
    for name, value in here.environment.items():
        monkeypatch.setenv(name, value)
    yield here
    here.end()


def write_profile(batch, folder, **more):
    path = folder / "site.yaml"
    path.write_text(batch.profile(folder, **more))
    return path


def kept(folder):
    """Return the folders of certificates."""
    return sorted((folder / "jobs").glob("tls-*"))


def test_certificates_of_jobs_are_their_owners_alone_and_gone_at_the_end(batch, tmp_path):
    """Whatever permissions other files get."""
    with connect(write_profile(batch, tmp_path, umask="'0000'", interface="lo")) as client:
        assert client.scheduler.address.startswith("tls://")
        client.cluster.scale(cpu=1)
        client.wait_for_workers(1, timeout=90)
        (folder,) = kept(tmp_path)
        found = {path.name: path.stat() for path in folder.iterdir()}
        assert found.keys() == FILES
        assert {status.st_mode & 0o7777 for status in found.values()} == {0o600}
        assert folder.stat().st_mode & 0o7777 == 0o700
        assert {status.st_uid for status in (*found.values(), folder.stat())} == {os.getuid()}
        assert "PRIVATE KEY" in (folder / "client-key.pem").read_text()
        # The job was told where they are, and not what they are.
        (script,) = batch.jobs.glob("*.sh")
        assert str(folder) in script.read_text()
        assert "PRIVATE KEY" not in script.read_text()
        assert client.submit(sum, [1, 2], resources={"CPU": 1}).result(timeout=60) == 3
    assert kept(tmp_path) == []


def test_certificates_are_gone_after_an_error_too(batch, tmp_path):
    def make_a_mistake():
        with connect(write_profile(batch, tmp_path, interface="lo")):
            assert len(kept(tmp_path)) == 1
            raise KeyError("somebody's mistake")

    with pytest.raises(KeyError, match="somebody's mistake"):
        make_a_mistake()
    assert kept(tmp_path) == []


def drive(session, profile):
    """Start the program on a session, as a user would."""
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return Forked("run", session, "--profile", profile, env=environment(), start_new_session=True, **outputs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_certificates_are_gone_after_a_driver_was_told_to_stop(batch, session_folder, tmp_path, number):
    process = drive(session_folder, write_profile(batch, tmp_path, interface="lo"))
    wait_until(lambda: kept(tmp_path) and batch.pids())
    process.send_signal(number)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, text
    assert kept(tmp_path) == []


def test_what_a_killed_driver_leaves_is_readable_by_nobody_else_and_removed_by_the_next_run(
    batch, session_folder, tmp_path
):
    profile = write_profile(batch, tmp_path, interface="lo")
    process = drive(session_folder, profile)
    wait_until(lambda: kept(tmp_path) and batch.pids())
    process.kill()
    process.communicate(timeout=60)
    (left,) = kept(tmp_path)
    assert left.stat().st_mode & 0o7777 == 0o700
    assert {path.stat().st_mode & 0o7777 for path in left.iterdir()} == {0o600}
    with connect(profile):
        (own,) = kept(tmp_path)
        assert own != left
        with connect(profile):  # one that lives is left alone
            assert own in kept(tmp_path)
        assert kept(tmp_path) == [own]
    assert kept(tmp_path) == []


@pytest.mark.parametrize(("age_s", "stays"), [(tls.VALID_S - 3600, True), (tls.VALID_S + 3600, False)])
def test_certificates_of_another_host_stay_as_long_as_they_are_valid(tmp_path, age_s, stays):
    """Whether its driver lives cannot be known here."""
    folder = tmp_path / "tls-login-2.site-4711-abc_1"
    folder.mkdir()
    os.utime(folder, (time.time() - age_s,) * 2)
    tls.sweep(tmp_path)
    assert folder.exists() == stays


def test_what_has_another_name_is_not_swept(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    mark = replace(this_process(), pid=gone.pid).mark
    names = ["tls-", "tls-mine", f"tls-{socket.gethostname()}-notes-x", f"old-tls-{mark}-x"]
    for name in (*names, f"tls-{mark}-x"):
        (tmp_path / name).mkdir()
    tls.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names)


@pytest.mark.parametrize(
    ("changes", "stays"),
    [({}, True), ({"started": 1}, False), ({"namespace": 1}, True), ({"boot": "0123456789ab"}, True)],
    ids=["alive", "number given out again", "another container", "another machine"],
)
def test_certificates_stay_while_their_driver_may_live(tmp_path, changes, stays):
    folder = tmp_path / f"tls-{replace(this_process(), **changes).mark}-abc_1"
    folder.mkdir()
    tls.sweep(tmp_path)
    assert folder.exists() == stays


@needs_namespaces
def test_a_driver_in_a_container_leaves_the_certificates_of_one_outside(batch, tmp_path):
    with connect(write_profile(batch, tmp_path, interface="lo")):
        code = "import sys, pathlib; from ibl_dask.deploy.cluster import tls; tls.sweep(pathlib.Path(sys.argv[1]))"
        (own,) = kept(tmp_path)
        subprocess.run([*NAMESPACE, sys.executable, "-c", code, own.parent], check=True)
        assert kept(tmp_path) == [own]


INTRUDER = """
import json, socket, ssl, sys, tempfile
from pathlib import Path
from distributed import Client, Security

foreign = Security.temporary()

def as_client(address, security):
    try:
        with Client(address, security=security, timeout="3s") as client:
            return repr(client.scheduler_info())
    except (OSError, TimeoutError, RuntimeError, TypeError, ValueError):
        return ""

def context(with_certificate):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if with_certificate:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("cert", foreign.tls_client_cert), ("key", foreign.tls_client_key)):
                Path(folder, name).write_text(text)
            made.load_cert_chain(Path(folder, "cert"), Path(folder, "key"))
    return made

def told(address, how):
    host, port = address.rsplit("/", 1)[-1].rsplit(":", 1)
    received = b""
    try:
        with socket.create_connection((host, int(port)), timeout=3) as door:
            if how != "plain":
                door = context(how == "foreign").wrap_socket(door)
            door.sendall(b"GET /status HTTP/1.0\\r\\n\\r\\n")
            while part := door.recv(4096):
                received += part
    except OSError:
        pass
    return received.hex()

if __name__ == "__main__":
    addresses = json.loads(sys.argv[1])
    out = {}
    for address in addresses:
        out[address] = {how: told(address, how) for how in ("plain", "anonymous", "foreign")}
        if len(sys.argv) > 2:
            out[address]["client without encryption"] = as_client(address.replace("tls://", "tcp://"), None)
            out[address]["client with its own certificate"] = as_client(address.replace("tcp://", "tls://"), foreign)
    print(json.dumps(out))
"""


def insist_on_shut_doors(said):
    for address, told in said.items():
        for how, text in told.items():
            # That is no TLS, an alert may say: a record of type 21, and nothing in it.
            is_alert = how == "plain" and text.startswith("15") and len(text) <= 14
            assert text == "" or is_alert, f"{how} at {address} was told {text!r}"


def test_strangers_are_refused_and_told_nothing_while_the_run_goes_on(session_folder):
    """As on a login node: local workers, and others who may connect to their ports."""

    class Visit:
        said = None

        def __call__(self, event):
            if self.said is None and isinstance(event, StepFinished):
                info = client.scheduler_info(n_workers=-1)
                doors = [info["address"], *info["workers"], *(w["nanny"] for w in info["workers"].values())]
                self.said = json.loads(printed_by(INTRUDER, json.dumps(doors), "clients"))

    visit = Visit()
    with connect(this_machine(1, dashboard_port=0, security="tls")) as client:
        assert client.scheduler.address.startswith("tls://")
        result = run([session_folder], client=client, listeners=[visit])
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 1
    assert result.exit_code == 0, result.sessions[0].failures
    assert len(visit.said) == 3
    assert {how for told in visit.said.values() for how in told} == {
        "plain",
        "anonymous",
        "foreign",
        "client without encryption",
        "client with its own certificate",
    }
    insist_on_shut_doors(visit.said)


def test_the_intruder_would_be_told_something_at_an_open_door():
    """Without encryption it gets in: what it brings home from a shut door means something."""
    with connect(this_machine(1, dashboard_port=0, security="none")) as client:
        address = client.scheduler.address
        assert address.startswith("tcp://")
        told = json.loads(printed_by(INTRUDER, json.dumps([address]), "clients"))[address]
    assert told["client without encryption"] != ""
    assert told["plain"] != ""


def doors(process):
    """Return where a process and its children listen."""
    found = []
    for one in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # commands of the batch system come and go
            found += [c.laddr for c in one.net_connections(kind="inet") if c.status == psutil.CONN_LISTEN]
    return found


def is_here(address):
    return address.ip in ("127.0.0.1", "::1")


@pytest.mark.parametrize("security", ["tls", "none"])
def test_nothing_of_local_workers_listens_for_other_machines(security):
    before = set(doors(psutil.Process()))
    with connect(this_machine(1, dashboard_port=0, security=security)) as client:
        opened = set(doors(psutil.Process())) - before
        port = int(client.dashboard_link.split(":")[2].split("/")[0])
        assert port in {address.port for address in opened}
        assert len(opened) >= 4  # scheduler, dashboard, nanny, worker
        assert all(is_here(address) for address in opened), opened


def test_dashboards_of_jobs_and_their_driver_listen_for_this_machine_alone(batch, tmp_path):
    """Whatever listens for others is shut to strangers."""
    before = set(doors(psutil.Process()))
    with connect(write_profile(batch, tmp_path)) as client:
        client.cluster.scale(cpu=1)
        client.wait_for_workers(1, timeout=90)
        (job,) = batch.pids()
        opened = set(doors(psutil.Process())) - before | set(doors(psutil.Process(job)))
        port = int(client.dashboard_link.split(":")[2].split("/")[0])
        assert [address.ip for address in opened if address.port == port] == ["127.0.0.1"]
        assert len(opened) >= 4
        others = [
            f"tls://{client.scheduler.address.split('/')[2].split(':')[0]}:{a.port}" for a in opened if not is_here(a)
        ]
        insist_on_shut_doors(json.loads(printed_by(INTRUDER, json.dumps(others))))


def test_certificates_of_local_workers_are_in_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with connect(this_machine(1, dashboard_port=0, security="tls")) as client:
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert not [path for path in files if b"PRIVATE KEY" in path.read_bytes()]


NEIGHBOUR = """
import os, sys
from distributed import Client, LocalCluster

def attempt(address):
    try:
        with Client(address, timeout="3s") as client:
            return f"ran as {client.submit(os.getuid).result(timeout=20)}"
    except (OSError, TimeoutError, RuntimeError, TypeError, ValueError) as error:
        return f"refused: {type(error).__name__}"

if __name__ == "__main__":
    # What is imported late may lie where the other user cannot read it.
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0", protocol="tcp") as own:
        attempt(own.scheduler_address)
        attempt("tcp://127.0.0.1:9")
        os.setgid(65534)
        os.setuid(65534)
        for address in sys.argv[1:]:
            print(attempt(address))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can be another user for a moment")
@pytest.mark.parametrize(("security", "expected"), [("auto", "refused"), ("none", "ran as 0")])
def test_another_user_of_this_machine_runs_no_code_in_workers_unless_a_profile_opens_them(
    monkeypatch, security, expected
):
    """Also where there is no batch system."""
    monkeypatch.setenv("PATH", "/nowhere")
    with connect(this_machine(1, dashboard_port=0, security=security)) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"] if security == "auto" else ()
        doors = [address.replace("tls://", "tcp://") for address in (client.scheduler.address, *workers)]
        said = printed_by(NEIGHBOUR, *doors).splitlines()
    assert len(said) == len(doors)
    assert all(line.startswith(expected) for line in said), said


def test_what_somebody_knows_of_one_run_opens_no_other():
    """Each has certificates of its own."""
    with tls.certificates(this_machine(1), None) as one, tls.certificates(this_machine(1), None) as other:
        cluster = distributed.LocalCluster(n_workers=0, dashboard_address=":0", security=other, silence_logs=50)
        with cluster, distributed.Client(cluster) as client:
            address = client.scheduler.address
            with pytest.raises(OSError, match=r"certificate|handshake|[Tt]imed out"):
                distributed.Client(address, security=one, timeout="2s")
            with distributed.Client(address, security=other, timeout="10s") as known:
                assert known.scheduler_info()["address"] == address


def test_a_profile_without_a_word_on_it_is_safe(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("workers: 1\n")
    assert tls.uses_tls(read_profile(path))
    assert tls.uses_tls(read_profile(None, 1))
    path.write_text("workers: 1\nsecurity: none\n")
    assert not tls.uses_tls(read_profile(path))
