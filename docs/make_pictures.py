"""Take the pictures of the documents anew: `python docs/make_pictures.py`; needs Chromium.

They show what the package makes at that moment, so they cannot describe anything else.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent / "pictures"


def photograph(page: Path, name: str, size_px: tuple[int, int]) -> None:
    """Take a picture of the top of a page.

    Parameters
    ----------
    page : Path
        HTML file.
    name : str
        File name of the picture.
    size_px : tuple of int
        Width and height of the window, px.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium: install the package `chromium`")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--screenshot={FOLDER / name}", f"--window-size={size_px[0]},{size_px[1]}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    print(FOLDER / name)


def main() -> None:
    """Make a session and a run, and photograph their pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, help="folder of a demo that was run already")
    given = parser.parse_args().demo
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given or Path(scratch) / "demo"
        if given is None:
            subprocess.run([Path(sys.executable).with_name("ibl-dask"), "demo", folder], check=True)
        (report,) = folder.rglob("ibl_dask/report.html")
        photograph(report.resolve(), "report.png", (1180, 860))


if __name__ == "__main__":
    main()
