"""The browser of this machine."""

from __future__ import annotations

import shutil

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def browser_program() -> str | None:
    """Return the path of the browser; None if there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)
