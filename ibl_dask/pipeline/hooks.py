"""Commands of a site that are run when a run pauses, fails or ends, with a summary as JSON on standard input."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from ibl_dask.model import events
from ibl_dask.pipeline.run_outcome import Run, rows
from ibl_dask.report.failure_groups import group_failures

_log = logging.getLogger(__name__)

Occasion = Literal["on_finish", "on_failure", "on_pause"]
SUMMARY_VERSION = 1
TIME_OUT_S = 60.0
"""Time after which a command is killed, with all that it started, s."""
PAUSE_AGAIN_S = 600.0
"""Time for which a further pause of the same place for the same reason is not told, s."""
MOST_GROUPS, MOST_SESSIONS = 50, 3
"""Kinds of failures in a summary, and sessions named for each."""


class Hooks:
    """Commands of a site, and the run that they tell of.

    A command that fails, hangs or is missing is a warning: it neither stops the run nor changes its exit code.

    Parameters
    ----------
    commands : mapping
        Occasion -> program and arguments, without a shell; empty for none.
    go_on : str
        Command that continues the run, for the summary.
    time_out_s : float
        Time limit of a command, s.
    """

    def __init__(
        self, commands: Mapping[Occasion, Sequence[str]], go_on: str = "", time_out_s: float = TIME_OUT_S
    ) -> None:
        self._commands = {occasion: tuple(words) for occasion, words in commands.items() if words}
        self._go_on = go_on
        self._time_out_s = time_out_s
        self._warnings: list[str] = []
        self._threads: list[threading.Thread] = []
        self._told_s: dict[tuple[str, str], float] = {}

    def watch(self, run: Run) -> Callable[[events.Event], None]:
        """Return the listener that runs `on_pause`, in a thread of its own, since the run goes on meanwhile."""
        started_s = time.time()

        def listen(event: events.Event) -> None:
            if not isinstance(event, events.RunPaused) or "on_pause" not in self._commands:
                return
            reason = (event.place, event.failure.what)
            if event.time_s - self._told_s.get(reason, -PAUSE_AGAIN_S) < PAUSE_AGAIN_S:
                return
            self._told_s[reason] = event.time_s
            content = summary("on_pause", run, self._go_on, seconds=time.time() - started_s, pause=event)
            thread = threading.Thread(target=self._call, args=("on_pause", run, content), daemon=True, name="on_pause")
            thread.start()
            self._threads.append(thread)

        return listen

    def finish(self, run: Run, report: Path | None = None) -> list[str]:
        """Run the commands for the end of a run; return a warning for each command of the run that did not work.

        Parameters
        ----------
        run : Run
            The run, which has ended.
        report : Path, optional
            Page of the whole run.
        """
        try:
            for thread in self._threads:
                thread.join(self._time_out_s)
            if any(outcome.state == "failed" for outcome in run.sessions) or run.journal_failure is not None:
                self._call("on_failure", run, summary("on_failure", run, self._go_on, report))
            self._call("on_finish", run, summary("on_finish", run, self._go_on, report))
        except KeyboardInterrupt:
            self._warnings.append("the commands for the end of the run were interrupted")
        return self._warnings

    def _call(self, occasion: Occasion, run: Run, content: Mapping[str, object]) -> None:
        command = self._commands.get(occasion)
        if command is None:
            return
        log = output_file(run, occasion)
        try:
            problem = run_command(command, json.dumps(content, default=str), log, self._time_out_s)
        except Exception as error:  # noqa: BLE001  # whatever it is, the results of the run do not depend on it
            problem = f"it could not be started: {error}"
        if problem:
            warning = f"{occasion} ({command[0]}): {problem}"
            _log.warning("%s", warning)
            self._warnings.append(warning)


def output_file(run: Run, occasion: str) -> Path:
    """Return the file for the output of a command, in the folder of the run."""
    return run.journal / f"{occasion}.log"


def run_command(command: Sequence[str], text: str, log: Path, time_out_s: float) -> str:
    """Run a command with a text on its standard input; return the problem, or an empty text.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; no shell reads them.
    text : str
        Standard input.
    log : Path
        File to which its output is appended, errors as well.
    time_out_s : float
        Time after which it is killed together with what it started, s.

    Raises
    ------
    OSError
        If it cannot be started, or the log cannot be written.
    """
    with tempfile.TemporaryFile() as given, log.open("ab") as output:  # a pipe would wait for a program that reads none
        given.write(text.encode("utf-8", "backslashreplace"))
        given.seek(0)
        process = subprocess.Popen(
            command, stdin=given, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(time_out_s)
        except subprocess.TimeoutExpired:
            return f"it took more than {time_out_s:g} s and was ended; its output: {log}"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return f"it ended with status {code}; its output: {log}" if code else ""


# -- the summary ---------------------------------------------------------------------------------------------------


def summary(
    occasion: Occasion,
    run: Run,
    go_on: str = "",
    report: Path | None = None,
    seconds: float | None = None,
    pause: events.RunPaused | None = None,
) -> dict[str, object]:
    """Return the summary of a run as plain values; `docs/hooks.md` describes its keys.

    Parameters
    ----------
    occasion : str
        Occasion of the command.
    run : Run
        The run, which may still be under way.
    go_on : str
        Command that continues it.
    report : Path, optional
        Page of the whole run.
    seconds : float, optional
        Duration so far, s; by default that of the run, which has ended.
    pause : RunPaused, optional
        The pause, for `on_pause`.
    """
    under_way = {"interrupted": "running", "not started": "waiting"} if pause is not None else {}
    counts = Counter(under_way.get(outcome.state, outcome.state) for outcome in run.sessions)
    if pause is not None:
        state = "paused"
    else:
        state = "interrupted" if run.interrupted else "done" if run.is_success else "failed"
    host = socket.gethostname()
    groups = _groups(run)
    return {
        "v": SUMMARY_VERSION,
        "occasion": occasion,
        "run": run.name,
        "host": host,
        "state": state,
        "subject": f"ibl_dask on {host}: {state}, {_words(counts)}",
        "text": _text(run, state, counts, groups, pause, go_on),
        "sessions": {"all": len(run.sessions), **counts},
        "failures": groups[:MOST_GROUPS],
        "more_failures": len(groups[MOST_GROUPS:]),
        "pause": None if pause is None else {"place": pause.place, "failure": pause.failure.to_json()},
        "seconds": round(run.seconds if seconds is None else seconds, 1),
        "time_s": time.time(),
        "journal": str(run.journal),
        "report": "" if report is None else str(report),
        "go_on": go_on,
    }


def _groups(run: Run) -> list[dict[str, object]]:
    """Return failures by their cause, the worst first; without tasks that only wait."""
    paths = {"/".join(outcome.path.parts[-3:]): str(outcome.path) for outcome in run.sessions}
    return [
        {
            "category": group.category,
            "kind": group.first.kind,
            "what": group.reason,
            "do": group.do,
            "n_sessions": len(group.sessions),
            "sessions": [paths.get(session, session) for session in group.sessions[:MOST_SESSIONS]],
        }
        for group in group_failures(rows(run))
        if not group.is_wait
    ]


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {state}" for state, n in counts.items()) or "no sessions"


def _text(
    run: Run,
    state: str,
    counts: Mapping[str, int],
    groups: Sequence[Mapping[str, object]],
    pause: events.RunPaused | None,
    go_on: str,
) -> str:
    """Return the summary in a few lines, for a message to a person."""
    lines = [f"run {run.name} {state}: {_words(counts)} of {len(run.sessions):,} sessions"]
    if pause is not None:
        lines.append(f"paused{f' ({pause.place})' if pause.place else ''}: {pause.failure.message}")
    lines += [f"{group['n_sessions']} x {group['category']}: {group['what']}" for group in groups[:5]]
    if len(groups) > 5:
        lines.append(f"and {len(groups) - 5} more reasons")
    lines += [f"journal: {run.journal}", *([f"to go on: {go_on}"] if go_on else [])]
    return "\n".join(lines)
