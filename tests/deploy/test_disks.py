import os
import threading
from pathlib import Path

import pytest

from ibl_dask.deploy.doctor import disks
from ibl_dask.deploy.doctor.disks import look_for, measure_disk, nearly_full, read_quota


def test_a_folder_that_refuses_is_a_fact_and_no_error(tmp_path):
    found = measure_disk(tmp_path / "none", 4)
    assert "No such file or directory" in found.problem
    assert disks.inspect_new_file(tmp_path / "none") == disks.NewFile()


def test_permissions_are_those_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        made = disks.inspect_new_file(tmp_path)
    finally:
        os.umask(before)
    assert made.mode == 0o640
    assert made.owner


def command(folder, monkeypatch, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_a_quota_that_is_nearly_used_up_is_told(tmp_path, monkeypatch):
    text = "echo 'nas:/home 99* 90 110 6days 5 0 0 0'; echo '/dev/sda1 10 90 110 0 96 90 100 0'; exit 1"
    command(tmp_path, monkeypatch, "quota", text)
    assert read_quota() == "nas:/home: 99 of 90 blocks; /dev/sda1: 96 of 90 files"


@pytest.mark.parametrize(
    "text", ["", "Disk quotas for user me (uid 1): none", "nas 1 0 0 0 1 0 0 0", "nas 5 100 110 0 1 0 0 0", "quota: 1"]
)
def test_a_quota_with_room_says_nothing(text):
    assert nearly_full(text) == []


def test_a_machine_without_quotas_has_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert read_quota() == ""


def test_a_file_that_appears_late_is_seen_when_it_does(tmp_path):
    path = tmp_path / "token"
    timer = threading.Timer(0.3, lambda: path.write_text("x"))
    timer.start()
    seen = look_for(path, "x", 10.0)
    timer.join()
    assert not seen.problem
    assert seen.waited_s > 0


def test_what_is_there_instead_of_a_file_is_told(tmp_path):
    path = tmp_path / "token"
    assert look_for(path, "x", 0.0).problem == "nothing"
    path.write_text("y")
    assert look_for(path, "x", 0.0).problem == "a file with another content"
    assert not look_for(tmp_path, None, 0.0).problem
    assert look_for(tmp_path / "none", None, 0.0).problem == "nothing"


def test_a_token_that_cannot_be_written_says_why(tmp_path):
    assert disks.write_token(tmp_path / "a", "x") == ""
    assert Path(tmp_path / "a").read_text() == "x"
    assert disks.write_token(tmp_path / "none" / "a", "x") == "No such file or directory"
