"""Networks of Lightning Pose with random weights, and its own predictions: runs in the environment of that library.

`python lightning_networks.py FOLDER` writes beside `clip.mp4` and `short.mp4` the networks `heatmap.zip` and
`heatmap_mhcrnn.zip`, the rows that `predict_on_video_file` gives for each (`heatmap-clip.npz`: frame, 3 values per
keypoint), and networks that are none.

`python lightning_networks.py make FOLDER TYPE BACKBONE SIZE` writes one network, `FOLDER/net` and `FOLDER/net.zip`, and
`python lightning_networks.py serve FOLDER VIDEO OUT.npy BATCH` predicts a video with it once per line of its input,
writes the rows (frame, keypoint, 3) and prints the seconds that it took.
"""

from __future__ import annotations

import copy
import os
import sys
import time
import zipfile
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
import yaml
from lightning_pose.api import Model
from lightning_pose.models import get_model_class

SIZE_PX = 128
KEYPOINTS = ("nose_tip", "paw_l", "paw_r")
SEQUENCE_FRAMES = 16
SHARPENED = {"heatmap": 100, "heatmap_mhcrnn": 1.3}
"""Factor of the last layers: maps of untrained ones are flat, and keypoints would not follow the pixels."""


def configuration(name: str, model_type: str, backbone: str, size_px: int) -> dict[str, dict]:
    predict = {"predict": {"sequence_length": SEQUENCE_FRAMES}}
    return {
        "data": {
            "image_resize_dims": {"height": size_px, "width": size_px},
            "num_keypoints": len(KEYPOINTS),
            "keypoint_names": list(KEYPOINTS),
            "downsample_factor": 2,
        },
        "training": {"rng_seed_model_pt": 0},
        "model": {"model_name": name, "model_type": model_type, "backbone": backbone, "losses_to_use": []},
        "dali": {"base": predict, "context": predict},
    }


def make(
    folder: Path, name: str, model_type: str, backbone: str = "resnet18", size_px: int = SIZE_PX
) -> dict[str, dict]:
    """Write the folder of a training, as the library leaves it."""
    model = get_model_class(model_type, semi_supervised=False)(
        num_keypoints=len(KEYPOINTS), backbone=backbone, pretrained=False, torch_seed=1, image_size=size_px
    )
    with torch.no_grad():
        for layer in model.head.modules():
            if isinstance(layer, torch.nn.ConvTranspose2d):
                layer.weight *= SHARPENED[model_type]
    checkpoint = folder / name / "tb_logs" / name / "version_0" / "checkpoints" / "epoch=0-step=1-best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(checkpoint)
    config = configuration(name, model_type, backbone, size_px)
    (folder / name / "config.yaml").write_text(yaml.safe_dump(config))
    return config


def pack(out: Path, config: dict[str, dict] | None, *checkpoints: Path) -> None:
    with zipfile.ZipFile(out, "w") as archive:
        if config is not None:
            archive.writestr("config.yaml", yaml.safe_dump(config))
        for number, path in enumerate(checkpoints):
            name = path.name if len(checkpoints) == 1 else f"epoch={number}.ckpt"
            archive.write(path, f"tb_logs/net/version_0/checkpoints/{name}")


def edit(checkpoint: Path, **parameters: object) -> None:
    content = torch.load(checkpoint, weights_only=False)
    content["hyper_parameters"].update(parameters)
    torch.save(content, checkpoint)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    clips = {name: folder / f"{name}.mp4" for name in ("clip", "short")}
    kept = {}
    for name in SHARPENED:
        kept[name] = make(folder, name, name)
        model = Model.from_dir(folder / name)
        for clip, path in clips.items():
            found = model.predict_on_video_file(
                str(path), output_dir=folder / "rows", compute_metrics=False, reader="opencv"
            ).predictions
            np.savez(folder / f"{name}-{clip}.npz", rows=found.to_numpy())
    paths = {name: next((folder / name).rglob("*.ckpt")) for name in SHARPENED}
    pack(folder / "other-type.zip", kept["heatmap_mhcrnn"], paths["heatmap"])
    pack(folder / "no-config.zip", None, paths["heatmap"])
    pack(folder / "two-checkpoints.zip", kept["heatmap"], paths["heatmap"], paths["heatmap"])
    for name in SHARPENED:
        edit(paths[name], pretrained=True)  # as after a training that began with weights of ImageNet
        pack(folder / f"{name}.zip", kept[name], paths[name])
    other = copy.deepcopy(kept["heatmap"])
    other["data"]["keypoint_names"].append("tail_start")
    pack(folder / "other-keypoints.zip", other, paths["heatmap"])
    views = copy.deepcopy(kept["heatmap"])
    views["data"]["view_names"] = ["left", "right"]
    pack(folder / "views.zip", views, paths["heatmap"])
    regression = copy.deepcopy(kept["heatmap"])
    regression["model"]["model_type"] = "regression"
    pack(folder / "regression.zip", regression, paths["heatmap"])
    config = make(folder, "animal", "heatmap", "resnet50")
    path = next((folder / "animal").rglob("*.ckpt"))
    edit(path, backbone="resnet50_animal_ap10k", pretrained=True)
    config["model"]["backbone"] = "resnet50_animal_ap10k"
    pack(folder / "animal.zip", config, path)


def make_one(folder: Path, model_type: str, backbone: str, size_px: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = make(folder, "net", model_type, backbone, size_px)
    pack(folder / "net.zip", config, next((folder / "net").rglob("*.ckpt")))


def serve(folder: Path, video: Path, out: Path, batch: int) -> None:
    """Predict a video whenever a line comes in."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    model = Model.from_dir(folder / "net")
    for kind, more in (("base", 0), ("context", 4)):
        model.cfg.dali[kind].predict.sequence_length = batch + more
    for _ in sys.stdin:
        clock = time.perf_counter()
        found = model.predict_on_video_file(
            str(video), output_dir=folder / "rows", compute_metrics=False, reader="opencv"
        ).predictions
        seconds = time.perf_counter() - clock
        np.save(out, found.to_numpy(np.float32).reshape(len(found), -1, 3))
        print(f"\nseconds {seconds:.3f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make_one(Path(sys.argv[2]), *sys.argv[3:5], int(sys.argv[5]))
    elif sys.argv[1] == "serve":
        serve(*map(Path, sys.argv[2:5]), int(sys.argv[5]))
    else:
        main(Path(sys.argv[1]))
