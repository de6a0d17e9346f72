"""Weights are the pinned ones, wherever they are read from, and are copied to a node once."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ibl_dask.errors import WrongWeights
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host.weights import stage_weights
from ibl_dask.pose.weights_digest import weights_digest

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


@pytest.fixture
def network_folder(tmp_path) -> Path:
    """Return the folder of a network on a shared disk."""
    folder = tmp_path / "shared" / "net"
    (folder / "deeper").mkdir(parents=True)
    (folder / "config.yaml").write_text("method: bu\n")
    (folder / "deeper" / "snapshot 1.pt").write_bytes(CONTENT)
    return folder


def of_folder(folder: Path) -> EngineSettings:
    return EngineSettings("net", "deeplabcut", weights=folder, sha256=weights_digest(folder))


def test_the_digest_of_a_folder_is_that_of_the_shell_command(network_folder):
    command = "find . -xtype f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
    found = subprocess.run(["sh", "-c", command], cwd=network_folder, capture_output=True, text=True, check=True)
    assert weights_digest(network_folder) == found.stdout.split()[0]
    (network_folder / "deeper" / "snapshot 1.pt").rename(network_folder / "snapshot 1.pt")
    assert weights_digest(network_folder) != found.stdout.split()[0], "names count"


def test_a_folder_is_copied_once_and_read_only(network_folder, tmp_path):
    settings = of_folder(network_folder)
    staged = stage_weights(settings, tmp_path / "node")
    assert staged.is_relative_to(tmp_path / "node")
    assert weights_digest(staged) == settings.sha256
    assert {stat.S_IMODE(path.stat().st_mode) for path in staged.rglob("*") if path.is_file()} == {0o400}
    shutil.rmtree(network_folder)
    assert stage_weights(settings, tmp_path / "node") == staged, "the shared disk is not needed again"
    assert list(staged.parent.iterdir()) == [staged], "nothing half written"


def test_a_copy_of_a_folder_that_was_changed_is_made_again(network_folder, tmp_path):
    settings = of_folder(network_folder)
    staged = stage_weights(settings, tmp_path / "node")
    (staged / "added").write_text("by someone")
    assert stage_weights(settings, tmp_path / "node") == staged
    assert weights_digest(staged) == settings.sha256
    assert list(staged.parent.iterdir()) == [staged]


@pytest.mark.parametrize("changed", ["config.yaml", "deeper/snapshot 2.pt"])
def test_another_folder_than_the_pinned_one_is_refused(network_folder, tmp_path, changed):
    settings = of_folder(network_folder)
    (network_folder / changed).write_text("method: td\n")
    with pytest.raises(WrongWeights, match="are not those of the profile"):
        stage_weights(settings, tmp_path / "node")
    assert not [path for path in (tmp_path / "node").rglob("*") if path.is_file()]


def test_a_folder_that_another_process_writes_is_named(network_folder, tmp_path):
    """A training that goes on writes a snapshot after the other."""
    settings = of_folder(network_folder)
    os.truncate(network_folder / "config.yaml", 30_000_000)  # reading it takes longer than a write of the other
    program = (
        "import sys, pathlib\n"
        "with pathlib.Path(sys.argv[1]).open('w', buffering=1) as snapshot:\n"
        "    print('written', file=snapshot)\n"
        "    print('writing', flush=True)\n"
        "    while True:\n"
        "        print('written', file=snapshot)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(network_folder / "snapshot-2.pt")], stdout=subprocess.PIPE, text=True
    ) as writer:
        writer.stdout.readline()
        try:
            with pytest.raises(WrongWeights, match="change while they are read") as caught:
                stage_weights(settings, tmp_path / "node")
        finally:
            writer.kill()
    assert "snapshot-2.pt" in caught.value.got
    assert caught.value.category == "environment"


def test_a_folder_that_is_none_of_a_network_is_refused(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WrongWeights, match="no folder of a network"):
        stage_weights(EngineSettings("net", "deeplabcut", weights=empty, sha256="0" * 64), tmp_path / "node")
    for number in range(1001):
        (empty / str(number)).touch()
    with pytest.raises(WrongWeights, match="no folder of a network"):
        stage_weights(EngineSettings("net", "deeplabcut", weights=empty, sha256="0" * 64), tmp_path / "node")
