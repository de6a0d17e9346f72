"""A disk that is full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch):
    """Send everything that is written to files to a device that is always full."""
    plain_open = Path.open
    device = os.open("/dev/full", os.O_WRONLY)

    def open_full(self: Path, mode: str = "r", *args, **kwargs):
        file = plain_open(self, mode, *args, **kwargs)
        if "w" in mode:
            os.dup2(device, file.fileno())
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        yield
    os.close(device)
