"""Make a project of DeepLabCut with a small random network, without downloads or training, and analyse a video with it.

    python deeplabcut_project.py make FOLDER [BACKBONE CHANNELS]
    python deeplabcut_project.py analyse FOLDER VIDEO OUT.npy BATCH [DEVICE]
    python deeplabcut_project.py serve FOLDER VIDEO OUT.npy BATCH [DEVICE]     analyses once per line of its input

It runs in the environment of DeepLabCut. `analyse` is `deeplabcut.analyze_videos` with as many threads as
OMP_NUM_THREADS states (1), and then `filterpredictions` (median of 5 frames); their tables are written as arrays
(frame, keypoint, 3), the second to OUT-filtered.npy. The seconds that the first took are printed.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

KEYPOINTS = ("snout", "leftear", "rightear", "tailbase")
BACKBONE, CHANNELS = "test_resnet", 96
"""The smallest residual network of timm, 0.5 million parameters, and the channels that it ends with."""


def make(folder: Path, backbone: str = BACKBONE, channels: int = CHANNELS) -> None:
    """Write the project, as `create_training_dataset` and a training leave it."""
    import deeplabcut
    import torch
    import yaml
    from deeplabcut.pose_estimation_pytorch.config import PoseConfig, TestConfig
    from deeplabcut.pose_estimation_pytorch.models import PoseModel

    torch.manual_seed(7)
    project = {
        "Task": "openfield",
        "scorer": "tests",
        "date": "Nov30",
        "multianimalproject": False,
        "identity": None,
        "project_path": str(folder),
        "engine": "pytorch",
        "video_sets": {},
        "bodyparts": list(KEYPOINTS),
        "start": 0,
        "stop": 1,
        "numframes2pick": 20,
        "skeleton": [],
        "skeleton_color": "black",
        "pcutoff": 0.6,
        "dotsize": 12,
        "alphavalue": 0.7,
        "colormap": "rainbow",
        "TrainingFraction": [0.95],
        "iteration": 0,
        "default_net_type": "resnet_50",
        "default_augmenter": "default",
        "snapshotindex": -1,
        "detector_snapshotindex": -1,
        "batch_size": 8,
        "cropping": False,
        "x1": 0,
        "x2": 640,
        "y1": 0,
        "y2": 480,
        "corner2move2": [50, 50],
        "move2corner": True,
    }
    network = folder / "dlc-models-pytorch" / "iteration-0" / "openfieldNov30-trainset95shuffle1"
    (network / "train").mkdir(parents=True)
    (network / "test").mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(project))
    path = network / "train" / "pytorch_config.yaml"
    PoseConfig.build(str(folder / "config.yaml"), path, net_type="resnet_50", top_down=False, save=True)
    config = yaml.safe_load(path.read_text())
    config["model"]["backbone"].update(model_name=backbone, output_stride=32)
    config["model"]["backbone_output_channels"] = channels
    for head in ("heatmap_config", "locref_config"):
        config["model"]["heads"]["bodypart"][head]["channels"][0] = channels
    path.write_text(yaml.safe_dump(config))
    typed = PoseConfig.from_any(path)
    TestConfig.build(typed, test_config_path=network / "test" / "pose_cfg.yaml", save=True)
    model = PoseModel.build(typed["model"])
    with torch.no_grad():  # of a training the maps are between 0 and 1 as well
        head = model.heads["bodypart"].heatmap_head
        for layer in head.modules():
            if getattr(layer, "bias", None) is not None:
                layer.bias.fill_(0.2)
    torch.save({"model": model.state_dict(), "metadata": {"epoch": 1}}, network / "train" / "snapshot-001.pt")

    deeplabcut.export_model(str(folder / "config.yaml"))


def analyse(folder: Path, video: Path, out: Path, batch: int, device: str) -> None:
    """Write the table of `analyze_videos`, and print the seconds that it took."""
    import deeplabcut
    import numpy as np
    import pandas as pd
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    destination = out.parent / f"{out.stem}-analysis"
    destination.mkdir(exist_ok=True)
    clock = time.perf_counter()
    deeplabcut.analyze_videos(
        str(folder / "config.yaml"),
        [str(video)],
        destfolder=str(destination),
        batch_size=batch,
        device=device,
        overwrite=True,
    )
    seconds = time.perf_counter() - clock
    deeplabcut.filterpredictions(str(folder / "config.yaml"), [str(video)], destfolder=str(destination), windowlength=5)
    for table in destination.glob("*.h5"):
        found = pd.read_hdf(table).to_numpy()
        name = f"{out.stem}-filtered.npy" if table.stem.endswith("_filtered") else out.name
        np.save(out.with_name(name), found.reshape(len(found), -1, 3))
    print(f"\nseconds {seconds:.3f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), *(kind(text) for kind, text in zip((str, int), sys.argv[3:], strict=False)))
    else:
        given = [*sys.argv[2:], "cpu"]
        for _ in sys.stdin if sys.argv[1] == "serve" else [""]:
            analyse(Path(given[0]), Path(given[1]), Path(given[2]), int(given[3]), given[4])
