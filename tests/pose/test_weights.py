"""Weights are the pinned ones, wherever they are read from, and are copied to a node once."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ibl_dask.errors import WrongWeights
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.weights import stage_weights

CONTENT = bytes(range(256)) * 9000


@pytest.fixture
def shared(tmp_path) -> Path:
    """Return a file of weights on a shared disk."""
    path = tmp_path / "shared" / "eye.onnx"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


def pinned(path: Path | None, content: bytes = CONTENT) -> EngineSettings:
    return EngineSettings("eye", "onnx", weights=path, sha256=hashlib.sha256(content).hexdigest())


def test_an_engine_without_weights_needs_none(tmp_path):
    assert stage_weights(EngineSettings("discs", "synthetic"), tmp_path / "node") is None


def test_a_copy_is_made_once_and_read_only(shared, tmp_path):
    staged = stage_weights(pinned(shared), tmp_path / "node")
    assert staged.is_relative_to(tmp_path / "node")
    assert staged.name == "eye.onnx", "runtimes judge a file by its name"
    assert staged.read_bytes() == CONTENT
    assert stat.S_IMODE(staged.stat().st_mode) == 0o400
    shared.unlink()
    assert stage_weights(pinned(shared), tmp_path / "node") == staged, "the shared disk is not needed again"
    assert [path for path in (tmp_path / "node").rglob("*") if path.is_file()] == [staged]


def test_other_weights_than_the_pinned_ones_are_refused(shared, tmp_path):
    shared.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WrongWeights) as caught:
        stage_weights(pinned(shared), tmp_path / "node")
    error = caught.value
    assert hashlib.sha256(CONTENT).hexdigest() in error.expected
    assert hashlib.sha256(shared.read_bytes()).hexdigest() in error.got
    assert error.category == "environment"
    assert not [path for path in (tmp_path / "node").rglob("*") if path.is_file()], "nothing half written"


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WrongWeights, match="cannot be read") as caught:
        stage_weights(pinned(tmp_path / "eye.onnx"), tmp_path / "node")
    assert caught.value.where == str(tmp_path / "eye.onnx")


def test_a_copy_that_was_changed_is_made_again(shared, tmp_path):
    staged = stage_weights(pinned(shared), tmp_path / "node")
    staged.chmod(0o600)
    staged.write_bytes(b"another network")
    assert stage_weights(pinned(shared), tmp_path / "node") == staged
    assert staged.read_bytes() == CONTENT


def test_a_folder_that_others_may_write_to_is_closed_before_a_copy_is_trusted(shared, tmp_path):
    folder = tmp_path / "node"
    staged = stage_weights(pinned(shared), folder)
    folder.chmod(0o777)
    assert stage_weights(pinned(shared), folder) == staged
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_node_that_takes_no_copy_reads_the_shared_file(shared, tmp_path, caplog):
    taken = tmp_path / "node"
    taken.write_text("a file where the folder would be")
    assert stage_weights(pinned(shared), taken) == shared
    assert "are read from" in caplog.text
    shared.write_bytes(b"other")
    with pytest.raises(WrongWeights):
        stage_weights(pinned(shared), taken)


def test_two_processes_at_once_make_one_copy(shared, tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from ibl_dask.pose.engine import EngineSettings\n"
        "from ibl_dask.pose.host.weights import stage_weights\n"
        "settings = EngineSettings('eye', 'onnx', weights=Path(sys.argv[1]), sha256=sys.argv[2])\n"
        "sys.stdin.readline()\n"
        "for _ in range(20):\n"
        "    staged = stage_weights(settings, Path(sys.argv[3]))\n"
        "    staged.read_bytes() == Path(sys.argv[1]).read_bytes() or sys.exit('half a copy')\n"
    )
    command = [sys.executable, "-c", program, str(shared), pinned(shared).sha256]
    processes = [
        subprocess.Popen([*command, str(tmp_path / "node")], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    files = [path for path in (tmp_path / "node").rglob("*") if path.is_file()]
    assert len(files) == 1
    assert os.access(files[0], os.R_OK)
