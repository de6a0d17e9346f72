"""Steps and tasks that say something in every way; workers import them by name."""

import logging
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

import ibl_dask as ibd

WAYS = ("log", "print", "error", "warning", "piece")


def say(way, text):
    """Say a text in one of the ways of code: a log message, standard output or error, a warning, part of a line."""
    if way == "log":
        logging.getLogger("speaking.part").warning("%s", text)
    elif way == "print":
        print(text)
    elif way == "error":
        print(text, file=sys.stderr)
    elif way == "piece":
        sys.stdout.write(text)
    else:
        warnings.warn_explicit(text, UserWarning, "file.py", 1)


class Turns:
    """Lets threads act in a given order, one at a time."""

    def __init__(self, order):
        self._order = order
        self._at = 0
        self._turn = threading.Condition()

    def take(self, who, action):
        """Wait for the turn of a thread, and act."""
        with self._turn:
            assert self._turn.wait_for(lambda: self._order[self._at] == who, 30)
            action()
            self._at += 1
            if self._at < len(self._order):
                self._turn.notify_all()


def speak(upstream, who, turns, lines):
    """Say some lines, each when its turn comes."""
    for way, text in lines:
        turns.take(who, lambda way=way, text=text: say(way, text))
    return {}


def speak_and_die(upstream, folder="", name="", number=signal.SIGKILL):
    """Say some lines, also past Python, and be killed."""
    for way in ("log", "print", "error"):
        say(way, f"said by {way}")
    os.write(2, b"said past Python\n")
    os.kill(os.getpid(), number)
    return {}


def print_much(upstream, n_lines):
    for n in range(n_lines):
        print(f"<{n}> {'x' * 90}")
    return {}


class Speaks(ibd.Task):
    """Says what it does, and fails where a file tells it to."""

    def _run(self, **kwargs):
        logging.getLogger(__name__).info("at work on %s", self.session_path.name)
        logging.getLogger("distributed.of_dask").warning("of the machinery")
        print("progress:  10%\rprogress: 100%")
        sys.stderr.write("a line of a million ünicode letters 😀\n")
        if (Path(self.session_path) / "break.txt").exists():
            raise ZeroDivisionError("a bug of this lab")
        out = self.session.path / "alf" / "speaks.txt"
        out.parent.mkdir(exist_ok=True)
        out.write_text("done")
        return [out]
