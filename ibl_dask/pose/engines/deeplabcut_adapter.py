"""Engine for networks of DeepLabCut 3 (PyTorch): one animal, every frame by itself.

The weights are a folder with `pytorch_config.yaml` and one snapshot, as a training leaves them under
`dlc-models-pytorch/.../train` (its other files do no harm, and are better left out), or the one file that
`deeplabcut.export_model` writes. No project is needed. Rows are those of `deeplabcut.analyze_videos` before its
filters: the network is built, frames are normalised, and maps are decoded by the library itself. Its automatic mixed
precision and compilation stay off, whatever the configuration asks for: they move keypoints.

Batches are filled up to one size, so that rows do not depend on how many frames are given: libraries for the CPU and
the GPU choose their code by the shape of a batch.
"""

from __future__ import annotations

import copy
import os
import pickle
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    Array = Any

OPTIONS = {
    "snapshot": "name of the snapshot in the folder; default: the only one",
    "batch": "frames at once, default 8",
    "threads": "threads of the CPU, default 1",
}
"""Name of an option -> its values."""
CONFIG = "pytorch_config.yaml"
"""Name of the configuration of a network, as DeepLabCut writes it."""
OLDEST = (3, 0)
"""Oldest version of DeepLabCut that runs networks in PyTorch."""
BATCH = 8
TOLERANCE_PX = {"cpu": 0.0, "cuda": 0.05}
"""Largest difference between batches that lie elsewhere in the video."""
PROBE_PX = 128
"""Height and width of the frame that an engine is tried with."""
OF_TENSORFLOW = (".index", ".meta", ".data-00000-of-00001")
"""Ends of the names of snapshots of DeepLabCut 2, which was built on TensorFlow."""


class EngineError(Exception):
    """Error that a user can mend."""

    def __init__(self, what: str, category: str, expected: str = "", got: str = "", do: str = "") -> None:
        super().__init__(what)
        self.category, self.expected, self.got, self.do = category, expected, got, do


class DeepLabCutEngine:
    """A network with its runner of DeepLabCut.

    Parameters
    ----------
    runner : PoseInferenceRunner
        Of `get_pose_inference_runner`.
    keypoints : list of str
        Names in the order of its rows.
    batch, threads : int
        Frames at once, and threads of the CPU.
    device, build : str
        Where it runs, and in what.
    """

    def __init__(self, runner: Any, keypoints: list[str], batch: int, threads: int, device: str, build: str) -> None:
        self._runner, self._keypoints, self._batch, self._threads = runner, keypoints, batch, threads
        self._device, self._build = device, build
        self.predict(np.zeros((1, PROBE_PX, PROBE_PX, 3), np.uint8), 0, 0)

    def info(self) -> dict[str, Any]:
        """Return the declaration of the engine."""
        return {
            "keypoints": self._keypoints,
            "halo": 0,
            "input_size": None,
            "colour": "rgb",
            "batch_hint": self._batch,
            "tolerance_px": TOLERANCE_PX[self._device.partition(":")[0]],
            "build": self._build,
        }

    def predict(self, frames: Array, before: int, after: int) -> Array:
        """Return the keypoints of the frames between the halos."""
        import torch

        torch.set_num_threads(self._threads)  # of the process, which may hold other networks
        n_rows = len(frames) - before - after
        found = np.empty((n_rows, len(self._keypoints), 3), np.float32)
        for start in range(0, n_rows, self._batch):
            given = [np.array(frame) for frame in frames[before + start : before + min(start + self._batch, n_rows)]]
            filled = given + [given[-1]] * (self._batch - len(given))
            poses = self._runner.inference(filled)[: len(given)]
            found[start : start + len(given)] = [pose["bodyparts"][0, :, :3] for pose in poses]
        return found


def load(weights: str | None, options: dict[str, Any], keypoints: list[str], device: str) -> DeepLabCutEngine:
    """Return an engine that has predicted a frame on the device."""
    for name in options:
        if name not in OPTIONS:
            raise EngineError(
                f"there is no option {name}",
                "usage",
                "one of " + ", ".join(OPTIONS),
                name,
                "remove it under `options:` of the engine in the site profile",
            )
    if weights is None:
        raise EngineError(
            "this engine has no network",
            "usage",
            "`weights:` in the site profile",
            "none",
            "name the folder of a network",
        )
    version = library_version()
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise EngineError(
            "PyTorch does not run this network on the GPU",
            "gpu",
            "a build of torch for CUDA, and a driver that it works with",
            f"torch {torch.__version__}, for which torch.cuda.is_available() is False",
            "install torch for the CUDA of the driver (nvidia-smi) in the environment of the engine",
        )
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False  # it would choose code by how fast it was at the first try
    config, state = read_network(weights, options.get("snapshot"))
    names = require_single_animal(config)
    batch, threads = int(options.get("batch", BATCH)), int(options.get("threads", 1))
    runner = build_runner(config, state, batch, device)
    build = "deeplabcut {} torch {} {}".format(version, torch.__version__, device.partition(":")[0])
    return DeepLabCutEngine(runner, names, batch, threads, device, build)


def library_version() -> str:
    """Return the version of DeepLabCut, or raise why it cannot be used."""
    try:
        import deeplabcut
    except ImportError:
        raise
    except Exception as error:
        raise EngineError(
            "the environment of the engine has DeepLabCut, which cannot be imported",
            "environment",
            "an environment in which `import deeplabcut` works",
            f"{type(error).__name__}: {error}",
            "install torch and torchvision of one build (both for the CPU, or both for CUDA) in it",
        ) from error
    version = str(deeplabcut.__version__)
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise EngineError(
            "this DeepLabCut is too old",
            "environment",
            "version {}.{} or later, which runs networks in PyTorch".format(*OLDEST),
            version,
            "name the Python of another environment under `engines:` of the site profile",
        )
    return version


def read_network(weights: str, snapshot: str | None = None) -> tuple[dict[str, Any], Any]:
    """Return the configuration of a network, and its parameters by name.

    Parameters
    ----------
    weights : str
        Its folder, or the file of `deeplabcut.export_model`.
    snapshot : str, optional
        Name of the snapshot in the folder.
    """
    if os.path.isdir(weights):  # noqa: PTH112
        names = sorted(os.listdir(weights))  # noqa: PTH208
        if CONFIG not in names:
            raise _no_network(weights, f"a folder with {CONFIG}", _listed(names))
        config = _parsed(os.path.join(weights, CONFIG))  # noqa: PTH118
        content = _loaded(os.path.join(weights, _snapshot_name(weights, names, snapshot)))  # noqa: PTH118
        if not isinstance(content, dict) or "model" not in content:
            raise _no_network(weights, "a snapshot with the parameters of a network", _kind(content))
        return config, content["model"]
    content = _loaded(weights)
    if not isinstance(content, dict) or "config" not in content or "pose" not in content:
        got = "a snapshot without its configuration" if isinstance(content, dict) and "model" in content else ""
        raise _no_network(
            weights,
            f"the folder with {CONFIG} and the snapshot, or the one file of deeplabcut.export_model",
            got or _kind(content),
        )
    return content["config"], content["pose"]


def _snapshot_name(weights: str, names: list[str], wanted: str | None) -> str:
    found = [name for name in names if name.endswith(".pt")]
    if wanted is not None:
        if wanted in found:
            return wanted
        raise EngineError(
            f"there is no snapshot {wanted}",
            "environment",
            OPTIONS["snapshot"],
            _listed(found),
            "correct `snapshot:` under `options:` of the engine in the site profile",
        )
    if len(found) == 1:
        return found[0]
    if not found and any(name.endswith(OF_TENSORFLOW) for name in names):
        raise EngineError(
            "this is a network of DeepLabCut 2",
            "environment",
            "a snapshot of DeepLabCut 3 in PyTorch (.pt)",
            _listed([name for name in names if name.endswith(OF_TENSORFLOW)]) + ", of TensorFlow",
            "train it again with DeepLabCut 3 (`engine: pytorch`); snapshots of TensorFlow cannot be converted",
        )
    raise EngineError(
        "this folder has several snapshots" if found else "this folder has no snapshot",
        "environment",
        "one snapshot (.pt)",
        _listed(found),
        "leave one of them in a copy of the folder, or name it under `options:`, as `snapshot: NAME`"
        if found
        else "copy the snapshot of the training beside the configuration",
    )


def _parsed(path: str) -> dict[str, Any]:
    from deeplabcut.core.config import read_config_as_dict

    try:
        config = read_config_as_dict(path)
    except Exception as error:
        raise _no_network(path, f"{CONFIG} in YAML", f"{type(error).__name__}: {error}") from error
    if not isinstance(config, dict):
        raise _no_network(path, f"{CONFIG} of a network", f"a {type(config).__name__}")
    return config


def _loaded(path: str) -> Any:
    """Return the content of a file of PyTorch, without running code in it."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        got = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(
            "this snapshot cannot be read",
            "environment",
            "parameters as PyTorch saves them, without other objects",
            f"{os.path.basename(path)}: {got[:300]}",  # noqa: PTH119
            "copy it again; if it is one of an early version and you trust it, load it with DeepLabCut 3.0.2 and save "
            "it anew",
        ) from error


def require_single_animal(config: dict[str, Any]) -> list[str]:
    """Return the names of the keypoints of a network that gives each frame one row for each of them."""
    try:
        method, metadata = str(config["method"]).lower(), config["metadata"]
        names = [str(name) for name in metadata["bodyparts"]]
        unique, animals = list(metadata.get("unique_bodyparts") or ()), list(metadata["individuals"])
        heads = dict(config["model"]["heads"])
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            "this is no configuration of a network of DeepLabCut 3",
            "environment",
            f"{CONFIG} with method, metadata and model",
            f"{type(error).__name__}: {error}",
            "copy the configuration from the folder of the training again",
        ) from error
    if method != "bu" or len(animals) != 1 or unique or list(heads) != ["bodypart"]:
        raise EngineError(
            "this network is not one of a single animal",
            "environment",
            "method bu (bottom-up), one individual, no unique bodyparts, one head",
            f"method {method}, {len(animals)} individuals, {len(unique)} unique bodyparts, {_listed(list(heads))}",
            "train a network for one animal: tracking of several needs the whole video",
        )
    return names


def build_runner(config: dict[str, Any], state: Any, batch: int, device: str) -> Any:
    """Return the runner of a network with its parameters. Nothing is downloaded."""
    from deeplabcut.pose_estimation_pytorch import get_pose_inference_runner

    config = copy.deepcopy(config)
    config["device"] = device
    config["resume_training_from"] = None
    plain = {"multithreading": {"enabled": False}, "compile": {"enabled": False}, "autocast": {"enabled": False}}
    try:
        runner = get_pose_inference_runner(config, None, batch_size=batch, device=device, inference_cfg=plain)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # ValidationError of pydantic is a ValueError
        raise EngineError(
            "this DeepLabCut cannot build the network",
            "environment",
            f"a {CONFIG} that this version reads",
            f"{type(error).__name__}: {error}",
            "name the environment with the DeepLabCut that trained it, or a later one",
        ) from error
    try:
        runner.model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise EngineError(
            "this snapshot is of another network than its configuration",
            "environment",
            f"the parameters that {CONFIG} describes",
            " ".join(str(error).split())[:600],
            "copy configuration and snapshot from the folder of one training, and name the environment with the "
            "DeepLabCut that trained it, or a later one",
        ) from error
    runner.model.to(device)
    runner.model.eval()
    return runner


def _no_network(weights: str, expected: str, got: str) -> EngineError:
    return EngineError(
        "this is no network of DeepLabCut 3",
        "environment",
        expected,
        got,
        "name the folder `train` of a shuffle under `dlc-models-pytorch`, or a copy of it",
    )


def _kind(content: Any) -> str:
    if isinstance(content, dict):
        return f"a mapping with {_listed(sorted(str(name) for name in content))}"
    return f"a {type(content).__name__}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") if names else "none"
