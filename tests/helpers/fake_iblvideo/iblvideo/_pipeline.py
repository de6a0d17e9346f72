"""What both pipelines of the fake do."""

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def estimate(file_mp4, weights, attribute):
    """Write a table beside the folder of a video, and return its path."""
    file_mp4, weights = Path(file_mp4), Path(weights)
    rule = json.loads((weights / "rule.json").read_text())
    # As the real one, which rewrites the project path in its configuration in place.
    (weights / "rule.json").write_text(json.dumps({**rule, "project_path": str(weights)}))
    capture = cv2.VideoCapture(str(file_mp4))
    n_frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    print(f"fake iblvideo: {n_frames} frames", flush=True)
    if rule.get("fault") == "fail":
        raise RuntimeError("CUDA out of memory (made up)")
    rows = n_frames - 3 if rule.get("fault") == "short" else n_frames
    columns = {}
    for number, name in enumerate(("nose_tip", "pupil_top_r")):
        columns[f"{name}_x"] = np.arange(rows) % 50 + 20.0 + number
        columns[f"{name}_y"] = np.full(rows, 30.0 + 10 * number)
        columns[f"{name}_likelihood"] = np.full(rows, 0.95)
    out = file_mp4.parent.parent / "alf" / f"_ibl_{file_mp4.name.split('_')[2].split('.')[0]}.{attribute}.pqt"
    out.parent.mkdir(exist_ok=True)
    if rule.get("fault") != "silent":
        pq.write_table(pa.table(columns), out)
    return out
