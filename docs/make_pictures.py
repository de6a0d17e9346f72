"""Take the pictures of the documents anew: `python docs/make_pictures.py`; needs Chromium and the extra `[test]`.

They show what the package makes at that moment, so they cannot describe anything else. Keypoints in the picture of the
viewer are those of the toy network, if `IBL_DASK_POSE_PYTHON` names a Python with onnxruntime.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ibl_dask as ibd
from ibl_dask.pose.toy import KEYPOINTS, SHA256, WEIGHTS
from ibl_dask.synth import write_session

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "pictures"
PROGRAM = Path(sys.executable).with_name("ibl-dask")
sys.path.append(str(HERE.parent / "tests" / "helpers"))
SHOWN_S = 6.0
"""Time at which the viewer is photographed, s since the start of the DAQ."""


def main() -> None:
    """Make a session and a run, and photograph their pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, help="folder of a demo that was run already")
    given = parser.parse_args().demo
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given or Path(scratch) / "demo"
        if given is None:
            subprocess.run([PROGRAM, "demo", folder], check=True)
        (report,) = folder.rglob("ibl_dask/report.html")
        photograph_report(report.resolve())
        photograph_viewer(Path(scratch))


def photograph_report(page: Path) -> None:
    """Take a picture of the top of the report of a session."""
    from browser_program import browser_program

    browser = browser_program()
    if browser is None:
        sys.exit("no Chromium: install the package `chromium`")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--screenshot={FOLDER / 'report.png'}", "--window-size=1180,860", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    print(FOLDER / "report.png")


def photograph_viewer(scratch: Path) -> None:
    """Run a session with keypoints, open it in the viewer and take a picture."""
    from browser import browser_page

    session = scratch / "Subjects" / "SW_001" / "2023-05-01" / "001"
    write_session(session, duration_s=12, scale=0.5, surplus_end_s=0.5)
    profile = write_profile(scratch)
    with ibd.connect(profile, workers=2) as client:
        ibd.run(session, client=client, pose=[] if profile is None else ["lightning_pose"])
    page = scratch / "view"
    subprocess.run([PROGRAM, "view", session, "--out", page, "--from", "2", "--to", "11"], check=True)
    with browser_page(scratch) as shown:
        shown.size(1180, 860)
        shown.open((page / "index.html").as_uri())
        shown.wait("window.viewer && viewer.state().isSettled && viewer.state().tracks.length")
        shown.wait("document.querySelector('#places button')")
        shown.value(f"viewer.seek({SHOWN_S})")
        shown.wait("viewer.state().isSettled")
        top = {"x": 0, "y": 0, "width": 1180, "height": 860, "scale": 1}
        taken = shown.send("Page.captureScreenshot", format="png", clip=top)
        (FOLDER / "viewer.png").write_bytes(base64.b64decode(taken["data"]))
        if shown.complaints:
            sys.exit("\n".join(shown.complaints))
    print(FOLDER / "viewer.png")


def write_profile(scratch: Path) -> Path | None:
    """Write the profile of a site with the toy network; return None where nothing can run it."""
    python = os.environ.get("IBL_DASK_POSE_PYTHON")
    if not python:
        return None
    shutil.copy(WEIGHTS, scratch / "toy.onnx")
    profile = scratch / "site.yaml"
    profile.write_text(
        f"name: site\nengines:\n  toy: {{kind: onnx, python: {python}, weights: {scratch / 'toy.onnx'}, "
        f"sha256: {SHA256}, keypoints: [{', '.join(KEYPOINTS)}]}}\n"
        "networks:\n  lightning_pose: {device: cpu, parts: {whole: {engine: toy, cameras: [left]}}}\n"
    )
    return profile


if __name__ == "__main__":
    main()
