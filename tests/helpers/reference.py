"""Ask the reference (ibllib 4.1.0): one process in its own environment answers all questions of a test run.

It takes seconds to start and milliseconds to answer. `reference_side.py` lists the questions.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

SIDE = Path(__file__).with_name("reference_side.py")


@dataclass(frozen=True)
class Answer:
    """What the reference made of something."""

    values: dict[str, Any]
    """Arrays and plain values by name; empty if it failed."""
    error: str | None
    """Kind and message of the exception that it raised."""
    log: tuple[str, ...]
    """Warnings and worse, each with its level in front."""

    def __getitem__(self, name: str) -> Any:
        assert self.error is None, self.error
        return self.values[name]


class Reference:
    """The reference, waiting for questions.

    Parameters
    ----------
    python
        Interpreter of its environment.
    folder
        An empty folder; it becomes the reference's home.
    options
        Options of the interpreter, such as `-O`.
    """

    def __init__(self, python: str, folder: Path, *options: str) -> None:
        self._folder, self._n_asked = folder, 0
        self._errors = folder / "stderr.txt"
        # As many threads as a task of one core gets: the last bits of a decomposition depend on their number.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        kernels = {name: os.environ[name] for name in ("OPENBLAS_CORETYPE",) if name in os.environ}
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "MPLBACKEND": "Agg", **threads, **kernels}
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [python, *options, str(SIDE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                cwd=folder,
                text=True,
            )

    def ask(self, question: str, **arguments: Any) -> Answer:
        """Ask a question; what the reference raises is part of its answer."""
        self._n_asked += 1
        arrays = {name: value for name, value in arguments.items() if isinstance(value, np.ndarray)}
        values = {name: value for name, value in arguments.items() if name not in arrays}
        asked, answered = (self._folder / f"{self._n_asked}.{side}.npz" for side in ("asked", "answered"))
        if arrays:
            np.savez(asked, **arrays)
        sent = {"call": question, "values": values, "arrays": str(asked) if arrays else None, "answer": str(answered)}
        try:
            print(json.dumps(sent, default=str), file=self._pipe(self._process.stdin), flush=True)
            line = self._pipe(self._process.stdout).readline()
        except BrokenPipeError:
            line = ""
        assert line, f"the reference ended (status {self._process.poll()}): {self._errors.read_text()[-4000:]}"
        told = json.loads(line)
        with np.load(answered) as found:
            values = {**told["facts"], **{name: found[name] for name in found.files}}
        return Answer(values, told["error"], tuple(told["log"]))

    def close(self) -> None:
        """Let it end."""
        for pipe in (self._process.stdin, self._process.stdout):
            self._pipe(pipe).close()
        self._process.wait(timeout=60)

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
