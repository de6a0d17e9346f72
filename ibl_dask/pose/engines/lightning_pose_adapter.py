"""Engine for networks of Lightning Pose 2.4: heatmaps, with and without temporal context.

The weights are a zip archive of the folder that a training leaves: `config.yaml` (or `.hydra/config.yaml`) and one
checkpoint. Frames are normalised, resized and given to the network by the library itself, through a reader of the kind
that `lightning_pose.data.video.factory` documents; so values are those of `Model.predict_on_video_file`.

A network with context sees two frames before and two after a frame. The first two frames of a video take the row of
the third, and the last two that of the third last (`PredictionHandler.fix_context_preds_confs`), so that a row depends
on up to four frames to each side: that is the halo.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
import tempfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    Array = Any

OPTIONS = {
    "precision": "fp32 (default), fp16 or bf16; the latter two on GPUs",
    "batch": "frames at once to begin with; default: sequence_length for predictions in the network's config.yaml",
    "threads": "threads of the CPU, default 1",
}
"""Name of an option -> its values."""
CONTEXT = 2
"""Frames to each side that a network with context sees (Lightning Pose, MHCRNN)."""
WITH_CONTEXT = "heatmap_mhcrnn"
KNOWN_TYPES = ("heatmap", WITH_CONTEXT)
"""Types of networks that are taken. Others see several cameras, or (`regression`) have no likelihoods."""
LEAST_VERSION = (2, 4, 3)
"""First version that runs without a GPU and documents readers of others."""
TOLERANCE_PX = {"cpu": 1e-3, "cuda": 0.05}
"""Largest difference between batches of different sizes: sums are added in another order."""
DTYPES = {"fp16": "float16", "bf16": "bfloat16"}
DEFAULT_BATCH = 16
ANIMAL_RESNET = re.compile(r"^resnet50_(animal|human)_\w+$")
"""Names of networks that differ from `resnet50` in the weights that their training begins with."""


class EngineError(Exception):
    """Error that a user can mend."""

    def __init__(self, what: str, category: str, expected: str = "", got: str = "", do: str = "") -> None:
        super().__init__(what)
        self.category, self.expected, self.got, self.do = category, expected, got, do


class LightningPoseEngine:
    """A network with its weights on a device."""

    def __init__(self, model: Any, config: Any, options: dict[str, Any], device: str) -> None:
        import lightning_pose
        import torch

        self._model, self._options, self._device = model.to(device), options, device
        self._keypoints = [str(name) for name in config.data.keypoint_names]
        size = config.data.image_resize_dims
        self._size = (int(size.height), int(size.width))
        self._has_context = config.model.model_type == WITH_CONTEXT
        self._precision = options.get("precision", "fp32")
        self._reader = reader_class()
        kind = "context" if self._has_context else "base"
        self._batch = int(options.get("batch") or _sequence_length(config, kind))
        self._build = "lightning-pose {} torch {} eager {}{}".format(
            lightning_pose.__version__,
            torch.__version__,
            self._precision,
            f" cudnn {torch.backends.cudnn.version()}" if device != "cpu" else "",
        )
        # A network that does not run is refused before any frame is decoded.
        self.predict(np.zeros((1, *self._size, 3), np.uint8), 0, 0)

    def info(self) -> dict[str, Any]:
        """Return the declaration of the engine."""
        return {
            "keypoints": self._keypoints,
            "halo": 2 * CONTEXT if self._has_context else 0,  # a copied row depends on as many
            "input_size": self._size,
            "colour": "rgb",
            "batch_hint": self._batch,
            "tolerance_px": TOLERANCE_PX[self._device.partition(":")[0]],
            "build": self._build,
        }

    def predict(self, frames: Array, before: int, after: int) -> Array:
        """Return the keypoints of the frames between the halos."""
        n_rows = len(frames) - before - after
        if not n_rows:
            return np.zeros((0, len(self._keypoints), 3), np.float32)
        if not self._has_context:
            return self._rows(frames[before : len(frames) - after])
        given, at = frames_in_context(len(frames), before, n_rows)
        return self._rows(frames[given])[at]

    def _rows(self, frames: Array) -> Array:
        """Return one row per frame, or with context one per frame with two on each side."""
        import torch

        batch = next(self._reader(frames, self._size, self._has_context, self._device))
        with torch.inference_mode():
            if self._precision == "fp32":
                points, confidence = self._model.predict_step(batch, 0)
            else:
                dtype = getattr(torch, DTYPES[self._precision])
                with torch.autocast(self._device.partition(":")[0], dtype):
                    points, confidence = self._model.predict_step(batch, 0)
        found = np.empty((len(points), len(self._keypoints), 3), np.float32)
        found[..., :2] = points.float().cpu().numpy().reshape(len(points), -1, 2)
        found[..., 2] = np.clip(confidence.float().cpu().numpy(), 0, 1)  # sums of a softmax may exceed 1 by a rounding
        return found


def frames_in_context(n_frames: int, before: int, n_rows: int) -> Any:
    """Return the frames that a network with context is given, and for each row its place in the answer.

    Fewer than four frames before or after the rows are there only where the video begins or ends. A sequence of fewer
    than five frames, for which the library has no rule, has its first and last frame repeated.

    Parameters
    ----------
    n_frames : int
        Frames with halo.
    before : int
        Frames of the halo before the rows.
    n_rows : int
        Rows.
    """
    rows = np.arange(before, before + n_rows)
    if n_frames <= 2 * CONTEXT:
        first, last = rows[0], rows[-1]
        given = np.clip(np.arange(first - CONTEXT, last + CONTEXT + 1), 0, n_frames - 1)
        return given, rows - first
    middles = np.clip(rows, CONTEXT, n_frames - 1 - CONTEXT)
    return np.arange(middles[0] - CONTEXT, middles[-1] + CONTEXT + 1), middles - middles[0]


def reader_class() -> Any:
    """Return the reader that gives frames of memory to a network, as one batch."""
    import torch
    from lightning_pose.data.video.utils import LitPredictWrapperBase

    class FramesReader(LitPredictWrapperBase):  # type: ignore[misc]  # the library has no types
        """Frames (frame, y, x, 3) uint8 as one batch of the library."""

        def __init__(self, frames: Array, size: tuple[int, int], has_context: bool, device: str) -> None:
            super().__init__(
                resize_dims=list(size),
                decode_resize_dims=list(size),
                sequence_length=len(frames),
                step=len(frames) - (2 * CONTEXT if has_context else 0),
                do_context=has_context,
                num_iters=1,
                multiview=False,
            )
            self._frames = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).to(device)

        def _read_views(self) -> list[Any]:
            return [self._frames]

    return FramesReader


def unpacked(weights: str, folder: str) -> tuple[str, str]:
    """Return the paths of configuration and checkpoint, copied from an archive into a folder.

    Parameters
    ----------
    weights : str
        Zip archive of the folder of a network.
    folder : str
        Folder for the copies.
    """
    try:
        with zipfile.ZipFile(weights) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            configs = [name for name in names if name.split("/")[-1] == "config.yaml"]
            configs.sort(key=lambda name: (len(name.split("/")), name))
            checkpoints = chosen_checkpoints(names)
            if not configs or len(checkpoints) != 1:
                got = f"{len(configs)} config.yaml, " + (", ".join(checkpoints) or "no checkpoint")
                raise _no_model(got)
            paths = []
            for name, kept in ((configs[0], "config.yaml"), (checkpoints[0], "network.ckpt")):
                paths.append(os.path.join(folder, kept))  # noqa: PTH118
                with open(paths[-1], "wb") as file:  # noqa: PTH123
                    file.write(archive.read(name))
    except zipfile.BadZipFile as error:
        raise _no_model(f"{type(error).__name__}: {error}") from error
    return paths[0], paths[1]


def chosen_checkpoints(names: list[str]) -> list[str]:
    """Return the checkpoints that stand for the network: as the library chooses, the best one of the latest version.

    Parameters
    ----------
    names : list of str
        Names in the archive.
    """

    def version(name: str) -> int:
        numbers = re.findall(r"version_(\d+)", name)
        return int(numbers[-1]) if numbers else -1

    found = fnmatch.filter(names, "*.ckpt")
    latest = max((version(name) for name in found), default=-1)
    found = [name for name in found if version(name) == latest]
    return [name for name in found if name.endswith("-best.ckpt")] or found


def read_model(config_path: str, checkpoint_path: str) -> tuple[Any, Any]:
    """Return a network with all its weights, and its configuration.

    The library takes a checkpoint of another network with what fits, and leaves the rest at random values
    (`strict=False`); here every weight has to come from the checkpoint.
    """
    import torch
    from lightning_pose.api.model_config import ModelConfig
    from lightning_pose.api.model_runtime import load_model_from_checkpoint

    config = ModelConfig.from_yaml_file(config_path).cfg
    _require_known(config)
    content = torch.load(checkpoint_path, map_location="cpu", weights_only=False)
    if not isinstance(content, dict) or not {"state_dict", "hyper_parameters"} <= set(content):
        raise _no_model("a checkpoint of something else")
    # The library would download weights that a training began with, and then replace them by those of the checkpoint.
    parameters = {**content["hyper_parameters"], "pretrained": False}
    parameters["backbone"] = ANIMAL_RESNET.sub("resnet50", str(parameters.get("backbone", "")))
    torch.save({**content, "hyper_parameters": parameters}, checkpoint_path)
    try:
        model = load_model_from_checkpoint(config, checkpoint_path, eval=True, skip_data_module=True)
    except RuntimeError as error:
        if "state_dict" not in str(error):
            raise
        raise _other_network(str(error)[:400]) from error
    given = {re.sub(r"^upsampling_layers\.", "head.upsampling_layers.", name) for name in content["state_dict"]}
    missing = sorted(set(model.state_dict()) - given)
    if missing:
        raise _other_network(
            "no {}{}".format(", ".join(missing[:3]), f" and {len(missing) - 3} others" if len(missing) > 3 else "")
        )
    names = list(config.data.keypoint_names)
    if model.num_keypoints != len(names):
        raise _other_network(f"a network of {model.num_keypoints} keypoints, and {len(names)} names in config.yaml")
    return model, config


def _require_known(config: Any) -> None:
    """Raise unless a configuration is that of a network of one camera, with named keypoints."""
    data = config.get("data") or {}
    model_type = (config.get("model") or {}).get("model_type")
    views = data.get("view_names") or []
    if model_type not in KNOWN_TYPES or len(views) > 1:
        raise EngineError(
            "this network is of another kind",
            "environment",
            "a network of one camera with likelihoods, model_type " + " or ".join(KNOWN_TYPES),
            f"{model_type}, of {len(views)} views" if views else str(model_type),
            "name another network under `weights:` of the engine in the site profile",
        )
    if not data.get("keypoint_names") or not data.get("image_resize_dims"):
        raise EngineError(
            "the configuration of this network is not complete",
            "environment",
            "data.keypoint_names and data.image_resize_dims in config.yaml",
            ", ".join(str(name) for name in data) or "no data",
            "pack the config.yaml that the training left beside the checkpoint",
        )


def _sequence_length(config: Any, kind: str) -> int:
    """Return the frames of a batch in predictions of the library, those of the context left out."""
    node: Any = config
    for name in ("dali", kind, "predict", "sequence_length"):
        node = node.get(name) if node is not None and hasattr(node, "get") else None
    if not node:
        return DEFAULT_BATCH
    return max(1, int(node) - (2 * CONTEXT if kind == "context" else 0))


def _no_model(got: str) -> EngineError:
    return EngineError(
        "these weights are no packed network of Lightning Pose",
        "environment",
        "a zip archive with config.yaml and one checkpoint",
        got,
        "cd MODEL_DIR && python -m zipfile -c net.zip config.yaml tb_logs",
    )


def _other_network(got: str) -> EngineError:
    return EngineError(
        "checkpoint and config.yaml are of different networks",
        "environment",
        "weights for every part of the network that config.yaml describes",
        got,
        "pack both from the folder of one training",
    )


def load(weights: str | None, options: dict[str, Any], keypoints: list[str], device: str) -> LightningPoseEngine:
    """Return an engine that has predicted a frame on the device."""
    for name in options:
        if name not in OPTIONS:
            raise EngineError(f"there is no option {name}", "usage", "one of " + ", ".join(OPTIONS), name)
    torch = library(device)
    precision = options.get("precision", "fp32")
    if precision != "fp32" and (precision not in DTYPES or device == "cpu"):
        raise EngineError(
            "the option precision does not fit", "usage", OPTIONS["precision"], f"{precision} on {device}"
        )
    torch.set_num_threads(int(options.get("threads", 1)))
    # Full precision: TF32 would move keypoints, and with other GPUs by other amounts.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    with tempfile.TemporaryDirectory(prefix="ibl_dask-lp-") as folder:
        model, config = read_model(*unpacked(str(weights), folder))
    return LightningPoseEngine(model, config, options, device)


def library(device: str) -> Any:
    """Return PyTorch, once it and the library work and see the device."""
    import lightning_pose

    found = str(lightning_pose.__version__)
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:3])
    if numbers < LEAST_VERSION:
        raise EngineError(
            "this version of Lightning Pose is too old",
            "environment",
            "lightning-pose {} or later".format(".".join(map(str, LEAST_VERSION))),
            found,
            "install lightning-pose==2.4.3 in an environment of its own (docs/pose_engines.md)",
        )
    try:
        import torch
        import torchvision  # noqa: F401
    except RuntimeError as error:  # builds of PyTorch and torchvision that do not fit each other
        raise EngineError(
            "PyTorch does not work in the environment of the engine",
            "environment",
            "torch and torchvision of one build",
            f"{type(error).__name__}: {error}",
            "install both from one index of packages",
        ) from error
    logging.getLogger("lightning_pose").setLevel(logging.ERROR)
    if device != "cpu" and not torch.cuda.is_available():
        raise EngineError(
            "PyTorch does not see a GPU",
            "gpu",
            f"a device {device}",
            f"torch {torch.__version__}, built for CUDA {torch.version.cuda}",
            "install a build of torch for the CUDA of the driver (nvidia-smi)",
        )
    return torch
