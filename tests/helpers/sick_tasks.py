"""A lab's task that does what a file of its session demands: nothing, or one of the ways in which tasks go wrong."""

import ctypes
import errno
import fcntl
import os
import sys
import time
from pathlib import Path

import ibl_dask as ibd

PRINTED_BYTES = int(os.environ.get("SICK_PRINTED_BYTES", "30_000_000"))


class Sick(ibd.Task):
    """Fails as `raw_video_data/sick.txt` demands; notes when it runs twice at the same time."""

    def _run(self, **kwargs):
        folder = self.session_path / "raw_video_data"
        with (folder / "alone.txt").open("a") as alone:
            try:
                fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                alone.write("TWICE\n")
            alone.write("begun\n")
            alone.flush()
            how = folder / "sick.txt"
            getattr(self, how.read_text() if how.exists() else "healthy")()
        made = Path(self.session_path / "alf" / "sick.txt")
        made.parent.mkdir(exist_ok=True)
        made.write_text("well")
        return [made]

    def healthy(self):
        time.sleep(0.1)

    def lacks_module(self):
        import a_module_that_nobody_has  # noqa: F401

    def hangs(self):
        ctypes.PyDLL(None).sleep(3600)

    def crashes(self):
        ctypes.string_at(0)

    def fills_memory(self):
        taken = bytearray(2_500_000_000)
        taken[::4096] = b"x" * len(taken[::4096])
        time.sleep(30)

    def prints(self):
        line = "x" * 999 + "\n"
        for _ in range(PRINTED_BYTES // 1000):
            sys.stdout.write(line)

    def stale(self):
        """A file server that forgets a handle for a while."""
        if self.n_begun() < 3:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(self.session_path))

    def loses_disk(self):
        """Take the disk with the data from this node, once, where it is a mount of its own."""
        disk = next((folder for folder in self.session_path.parents if folder.is_mount()), Path("/"))
        if self.n_begun() > 1 or disk == Path("/"):
            return
        libc = ctypes.CDLL(None, use_errno=True)
        for code in (
            libc.unshare(0x20000),  # CLONE_NEWNS: mounts of this process are its own from here on
            libc.mount(b"none", b"/", None, 0x44000, None),  # MS_REC | MS_PRIVATE
            libc.umount2(bytes(disk), 2),  # MNT_DETACH
        ):
            if code:
                raise OSError(ctypes.get_errno(), "the disk cannot be taken from this process")

    def n_begun(self):
        return (self.session_path / "raw_video_data" / "alone.txt").read_text().count("begun")

    def is_wrong(self):
        raise ZeroDivisionError("a bug of theirs")
