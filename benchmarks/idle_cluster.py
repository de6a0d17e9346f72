"""A Dask cluster of processes on this machine, for steps that do nothing."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from distributed import Client


@contextlib.contextmanager
def cluster(n_workers: int) -> Iterator[tuple[Client, dict[str, int]]]:
    """Start a scheduler and workers, each in a process of its own; yield a client, and processes by their role."""
    program = "from distributed.cli.dask_scheduler import main; main()"
    scheduler = subprocess.Popen(
        [sys.executable, "-c", program, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = scheduler.stderr or ()
    address = next(found[0] for line in lines if (found := re.search(r"tcp://[\d.:]+", line)))
    threading.Thread(target=lambda: [None for _ in lines], daemon=True).start()  # a full pipe would stop it
    program = "from distributed.cli.dask_worker import main; main()"
    options = ["--nthreads", "1", "--no-dashboard", "--resources", "CPU=1 MEMORY_GB=4", "--no-nanny"]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, address, *options], stderr=subprocess.DEVNULL, cwd=Path(__file__).parent
        )
        for _ in range(n_workers)
    ]
    try:
        with Client(address) as client:
            client.wait_for_workers(n_workers)
            client.upload_file(str(Path(__file__).parent / "idle_steps.py"))
            yield client, {"scheduler": scheduler.pid, "worker": workers[0].pid}
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()
