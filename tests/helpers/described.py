"""Sessions of a description alone: what is planned needs no recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CAMERA = "  cameras:\n    left: {collection: raw_video_data, sync_label: audio}\n"
SYNCS = {
    "nidq": "{nidq: {collection: raw_ephys_data, acquisition_software: spikeglx, extension: bin}}",
    "bpod": "{bpod: {collection: raw_behavior_data}}",
}


def described(root: Path, reference: str = "SW_001/2023-05-01/001", sync: str = "nidq", tasks: str = "") -> Path:
    """Write the description of a session with one camera; return its folder."""
    folder = root / "Subjects" / reference
    folder.mkdir(parents=True)
    text = f"devices:\n{CAMERA}sync: {SYNCS[sync]}\nversion: '1.0.0'\n{tasks}"
    (folder / "_ibl_experiment.description.yaml").write_text(text)
    return folder
