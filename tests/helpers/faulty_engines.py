"""Engines of the faulty adapter, behind real hosts."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.host import hosted_engine

ADAPTER = Path(__file__).with_name("faulty_adapter.py")
START_S = 60.0


def use_faulty_adapter() -> None:
    """Take the faulty adapter for the kind `synthetic` in this process."""
    hosted_engine.adapter_file = lambda kind: ADAPTER


def faulty(batch_s: float = 60.0, start_s: float = START_S, python: str = "", **options: object) -> EngineSettings:
    return EngineSettings("sick", "synthetic", python=python, options=options, start_s=start_s, batch_s=batch_s)


def numbered(n_frames: int, size: tuple[int, int] = (6, 8)) -> np.ndarray:
    """Return frames that are filled with their number."""
    return np.broadcast_to(np.arange(n_frames, dtype=np.uint8)[:, None, None, None], (n_frames, *size, 3)).copy()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_for(condition, timeout_s: float = 30.0) -> bool:
    """Return whether a condition became true in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
