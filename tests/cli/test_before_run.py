"""Before a run starts: disks that are too small, and runs so large that a person is asked."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import forked_program
import pytest
from program import call, environment, says

from ibl_dask.synth.session import write_session

PLACE = Path("Subjects") / "SW_001" / "2023-05-01" / "001"
LARGE = (
    "from ibl_dask.cli import before_run; before_run.LARGE_CORE_HOURS = before_run._WORTH_A_LINE_S = -1;"
    "from ibl_dask.cli.app import main; main()"
)
"""The program, to which any run is a large one."""
SHORT = ("--tasks", "VideoRegisterRaw")
"""A task that takes no time."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / PLACE
    write_session(folder, duration_s=2, scale=0.125, gop=40, cameras=("left",))
    return folder


def arguments(small: Path, root: Path) -> list[str]:
    return [str(each) for each in ("run", small, "--workers", "0", "--output-root", root / "out", *SHORT)]


@pytest.mark.parametrize("size", ["500k", "30m"])
def test_a_disk_without_room_is_refused_with_the_table_before_anything_starts(
    small: Path, tmp_path: Path, size: str
) -> None:
    mount = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={size} none "$0" && exec "$@"', str(tmp_path)]
    if subprocess.run([*mount, "true"], capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    code, text = call(*arguments(small, tmp_path), prefix=mount)
    if size == "30m":
        assert code == 0
        assert "core-hours" not in text, "a small run that fits says nothing of it"
        return
    assert code == 2
    says(text, "too little", "results", "scratch", "journal", "free", "the results of this run will not fit on a disk")
    says(text, "expected: room for about 7", "got: 5", "(free)", "--yes starts all the same", "core-hours")
    assert "steps (" not in text
    code, text = call(*arguments(small, tmp_path), "--yes", prefix=mount)
    says(text, "too little", "steps (")


@pytest.mark.parametrize(("answer", "starts"), [("", False), ("y", True)])
def test_a_person_at_a_terminal_is_asked_about_a_large_run(
    small: Path, tmp_path: Path, answer: str, starts: bool
) -> None:
    mine, theirs = pty.openpty()
    command = [sys.executable, "-c", LARGE, *arguments(small, tmp_path)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment())
    os.close(theirs)
    os.write(mine, f"{answer}\n".encode())
    shown = b""
    while True:
        try:
            shown += os.read(mine, 4096)
        except OSError:  # the program has ended
            break
    text = shown.decode()
    os.close(mine)
    assert process.wait() == (0 if starts else 1)
    says(text, "estimate: ", "core-hours", "start it? [y/N]")
    assert ("nothing was started" in text) != starts
    assert (tmp_path / "out").exists() == starts


def test_a_script_is_never_asked_and_the_line_is_in_its_log_with_sessions_that_count_for_nothing(
    small: Path, tmp_path: Path
) -> None:
    without_description = tmp_path / "Subjects" / "SW_002" / "2023-05-01" / "001"
    (without_description / "raw_video_data").mkdir(parents=True)
    _, text, _ = forked_program.call(*arguments(small, tmp_path), without_description, code=LARGE, env=environment())
    says(text, "estimate: ", "on 1 worker (laptop)", "to write; 1 of 2 cannot be planned")
    assert "start it?" not in text
