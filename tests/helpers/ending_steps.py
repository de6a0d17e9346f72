"""Steps and tasks that try to end the process that they run in. In a module of its own: workers import it by name."""

import argparse
import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import ibl_dask as ibd

WAYS = {
    "os._exit": lambda: os._exit(3),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "a crash of a library": lambda: ctypes.string_at(0),
    "abort": os.abort,
}


def end_process(upstream, log, way):
    """Note that it began, and end the process."""
    note(log, way)
    if way == "memory":
        taken = bytearray(1_100_000_000)
        taken[::4096] = b"x" * len(taken[::4096])
        time.sleep(30)
    WAYS[way]()


def note(log, word):
    with Path(log).open("a") as file:
        file.write(word + "\n")


def hold(upstream, folder, name, seconds=300.0):
    """Note the process, and stay."""
    part = Path(folder, f"{name}.part")
    part.write_text(str(os.getpid()))
    part.rename(Path(folder, name))
    time.sleep(seconds)


class Ending(ibd.Task):
    """Ends its process in some way, at some time; `never` does not."""

    def __init__(self, session_path, way="never", when="run", **kwargs):
        super().__init__(session_path, **kwargs)
        self.way, self.when = way, when
        self._end("init")

    def arguments(self):
        return {"way": self.way, "when": self.when}

    def _end(self, when):
        if when != self.when:
            return
        if self.way == "sys.exit":
            sys.exit(7)
        if self.way == "sys.exit with words":
            sys.exit("I am done")
        if self.way == "KeyboardInterrupt":
            raise KeyboardInterrupt
        if self.way == "argparse":
            argparse.ArgumentParser().parse_args(["--of", "another", "program"])
        if self.way == "asyncio":
            raise asyncio.CancelledError

    def review(self):
        self._end("review")
        return super().review()

    @property
    def signature(self):
        self._end("signature")
        return {"input_files": [], "output_files": []}

    def unmet_requirement(self):
        self._end("unmet_requirement")
        return super().unmet_requirement()

    def _run(self, **kwargs):
        self._end("run")
        made = self.session_path / f"{self.way}.txt"
        made.write_text("done")
        return [made]


class Interrupted(ibd.Task):
    """Meets a Ctrl-C while it runs."""

    def _run(self, **kwargs):
        signal.raise_signal(signal.SIGINT)
        time.sleep(5)
