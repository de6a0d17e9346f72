"""Computers that report what they recorded. In a module of its own, since other processes import it by name."""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from ibl_dask.store.descriptions import add_device
from ibl_dask.store.lock import holding


def stub(session: Path, number: int) -> Path:
    path = session / "_devices" / f"2023-05-01_1_SW_001@computer{number}.yaml"
    path.parent.mkdir(exist_ok=True)
    content = {"devices": {"cameras": {f"camera{number:02}": {"collection": "raw_video_data"}}}, "projects": ["p"]}
    path.write_text(yaml.safe_dump(content))
    return path


def add(session: Path, number: int, gate: object) -> None:
    path = stub(session, number)
    gate.wait()  # type: ignore[attr-defined]
    add_device(path, session, remove=True)


def hold(lock: Path, started: object) -> None:
    with holding(lock):
        started.set()  # type: ignore[attr-defined]
        time.sleep(0.5)
