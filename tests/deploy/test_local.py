import os
import subprocess
import sys

import distributed
import psutil
import pytest
from simple_steps import note_process
from waiting import is_gone, wait_until

from ibl_dask.deploy.cluster.connect import connect, tunnel_line
from ibl_dask.deploy.cluster.local_workers import WORKER_ENVIRONMENT
from ibl_dask.deploy.site.profile import this_machine
from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.errors import MissingFile, RunError, UsageError
from ibl_dask.model.cores import available_cores

SMALL = this_machine(1, dashboard_port=0)


def failing(monkeypatch, n_times):
    """Let the first starts fail as they do when a worker is killed while it starts."""
    starts = []

    def start(*args, **kwargs):
        starts.append(kwargs)
        if len(starts) <= n_times:
            raise RuntimeError("Nanny failed to start.")
        return real(*args, **kwargs)

    real = distributed.LocalCluster
    monkeypatch.setattr(distributed, "LocalCluster", start)
    return starts


def test_a_worker_that_dies_while_it_starts_is_started_again(monkeypatch):
    starts = failing(monkeypatch, 1)
    with connect(SMALL) as client:
        assert client.submit(sum, [1, 2]).result() == 3
    assert len(starts) == 2


def test_a_worker_that_is_gone_with_its_nanny_is_replaced():
    with connect(SMALL) as client:
        (nanny,) = client.cluster.workers.values()
        client.cluster.sync(nanny.close)
        assert client.submit(sum, [1, 2]).result(timeout=120) == 3


def test_workers_that_never_start_are_an_error_that_says_what_to_do(monkeypatch):
    failing(monkeypatch, 99)
    with pytest.raises(RunError, match="could not be started") as caught, connect(SMALL):
        pass
    assert "--workers 0" in str(caught.value)


def test_every_worker_is_one_thread_that_offers_one_cpu():
    with connect(this_machine(2, dashboard_port=0)) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [(w["nthreads"], w["resources"]) for w in workers] == [(1, {"CPU": 1, "MEMORY_GB": 2})] * 2
        assert tunnel_line(client).startswith("ssh -N -L ")


def test_workers_start_with_their_environment_and_this_process_keeps_its_own():
    with connect(SMALL):
        pass  # Dask notes the number of this process in its environment, once
    before = dict(os.environ)
    with connect(SMALL) as client:
        (environment,) = client.run(lambda: dict(os.environ)).values()
    assert environment.items() >= WORKER_ENVIRONMENT.items()
    assert dict(os.environ) == before


def test_workers_have_the_variables_that_this_process_has_when_they_are_started(monkeypatch):
    """They are forked from a process that is older."""
    seen = []
    for value in ("first", "second", None):
        if value is None:
            monkeypatch.delenv("COLOUR_OF_THE_RIG")
        else:
            monkeypatch.setenv("COLOUR_OF_THE_RIG", value)
        with connect(SMALL) as client:
            seen += client.run(lambda: os.environ.get("COLOUR_OF_THE_RIG")).values()
    assert seen == ["first", "second", None]


HANGING = """
import ctypes, os, sys
from ibl_dask.deploy.cluster.connect import connect
from ibl_dask.deploy.site.profile import this_machine


def hang(path):
    with open(path + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".new", path)
    ctypes.PyDLL(None).sleep(600)


if __name__ == "__main__":
    with connect(this_machine(1, dashboard_port=0)) as client:
        client.submit(hang, sys.argv[1]).result()
"""


def test_a_worker_ends_with_a_driver_that_is_killed_also_while_code_in_c_keeps_its_interpreter(tmp_path):
    noted = tmp_path / "pid"
    driver = subprocess.Popen([sys.executable, "-c", HANGING, noted])
    wait_until(noted.exists, 300)
    pid = int(noted.read_text())
    assert psutil.pid_exists(pid)
    driver.kill()
    driver.wait()
    wait_until(lambda: is_gone(pid), 60)


def test_a_worker_ends_with_the_process_it_was_forked_from_before_another_one_does_its_work(tmp_path):
    noted = tmp_path / "pid"
    with connect(SMALL) as client:
        future = client.submit(note_process, noted, 8)
        wait_until(noted.exists, 300)
        first = psutil.Process(int(noted.read_text()))
        psutil.Process(first.ppid()).kill()
        wait_until(lambda: is_gone(first.pid), 60)
        assert future.result(timeout=300) != first.pid


def test_a_profile_is_read_and_the_number_of_workers_may_be_given(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("name: server\nworkers: 7\nmemory_gb: 3.5\n")
    assert read_profile(path) == this_machine(7, 3.5, name="server", source=path)
    assert read_profile(path, workers=2).most_workers == 2
    assert read_profile(None).most_workers == available_cores()


def test_the_shipped_profiles_are_understood(pytestconfig):
    for path in sorted((pytestconfig.rootpath / "cluster").glob("*.yaml")):
        assert read_profile(path).most_workers >= 1


@pytest.mark.parametrize("text", ["workers: many", "workers: 0", "memory_gb: -1", "dashboard_port: 99999", "a: [1"])
def test_a_profile_that_makes_no_sense_is_refused(tmp_path, text):
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"site\.yaml"):
        read_profile(path)


def test_a_profile_that_is_not_there_is_a_missing_file(tmp_path):
    with pytest.raises(MissingFile, match="does not exist"):
        read_profile(tmp_path / "none.yaml")
