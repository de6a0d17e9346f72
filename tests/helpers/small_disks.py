"""Real disks of 20 MB, which are soon full."""

import contextlib
import shutil
import subprocess

import pytest


@contextlib.contextmanager
def mounted(folder):
    """Mount a disk on a new folder, and yield that."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20M", "none", folder], capture_output=True).returncode:
        pytest.skip("only root mounts disks")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk, leaving=0):
    """Fill a disk to the last byte, or up to some bytes."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while leaving < 4096 or shutil.disk_usage(disk).free >= leaving:
            file.write(bytes(4096))
