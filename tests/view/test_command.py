"""The command `view`, in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import urllib.request
from typing import TYPE_CHECKING

from forked_program import Forked
from program import call, environment, says

if TYPE_CHECKING:
    from pathlib import Path


def test_the_address_is_printed_and_ctrl_c_ends_it_without_a_trace(seen_session: Path) -> None:
    before = sorted(path for path in seen_session.rglob("*"))
    with Forked("view", seen_session, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as run:
        address = re.search(r"http://127\.0\.0\.1:\d+/\S+", run.stdout.readline())
        assert address is not None
        assert "ssh -N -L" in run.stdout.readline()
        with urllib.request.urlopen(address[0], timeout=60) as answer:
            assert "SW_001/2023-05-01/001" in answer.read().decode()
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (0, "")
    assert sorted(path for path in seen_session.rglob("*")) == before


def test_a_list_of_sessions_links_to_each(seen_session: Path) -> None:
    command = ["view", "--run", "2", "--work-dir", seen_session.parents[2] / ".ibl_dask"]
    with Forked(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as run:
        line = run.stdout.readline()
        assert "http://" in line, run.communicate()
        with urllib.request.urlopen(line.split()[-1], timeout=60) as answer:
            assert "SW_001/2023-05-01/001" in answer.read().decode()
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode == 0


def test_a_range_without_a_folder_is_refused(seen_session: Path) -> None:
    code, text = call("view", seen_session, "--from", "1")
    assert code == 2
    says(text, "a range of time belongs to a folder")
