"""Export of a network of DeepLabCut 3 to ONNX, in the environment of DeepLabCut with the package `onnx`.

The graph takes normalised pictures of any size and returns the maps as they are, with the offsets if the network has
them. Everything around it, from pixels to keypoints, is described by options of the engine kind `onnx`, which the file
has in its metadata: a profile needs to name no more than the file.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

OPSET = 17
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Mean and standard deviation of red, green and blue that `normalize_images` of DeepLabCut stands for (ImageNet)."""
PROBE_PX = 128
UNDERSTOOD = ("normalize_images", "scale_to_unit_range")
"""Changes of pictures before inference that the options of an engine can describe."""


def export(adapter: Any, weights: str, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the description of a network and its content in ONNX.

    Parameters
    ----------
    adapter : module
        `deeplabcut_adapter`.
    weights, options
        See `deeplabcut_adapter.load`.
    """
    version = adapter.library_version()
    import onnx
    import torch

    config, state = adapter.read_network(weights, options.get("snapshot"))
    keypoints = adapter.require_single_animal(config)
    runner = adapter.build_runner(config, state, 1, "cpu")
    model = runner.model
    head = model.heads["bodypart"]
    predictor = head.predictor
    pictures = picture_options(config, adapter)
    if type(predictor).__name__ != "HeatmapPredictor":
        raise adapter.EngineError(
            "this network has no heatmaps",
            "environment",
            "the predictor HeatmapPredictor",
            type(predictor).__name__,
            "run it as an engine of kind deeplabcut",
        )
    stride = float(model.get_stride("bodypart"))
    outputs = ["heatmap", "locref"] if predictor.location_refinement else ["heatmap"]

    class Maps(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, frames: Any) -> Any:
            found = self.model(frames)["bodypart"]
            return tuple(found[name] for name in outputs)

    axes = {0: "batch", 2: "height", 3: "width"}
    written = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            Maps().eval(),
            (torch.zeros(1, 3, PROBE_PX, PROBE_PX),),
            written,
            input_names=["frames"],
            output_names=outputs,
            dynamic_axes={"frames": axes, **{name: {0: "batch", 2: name + "_y", 3: name + "_x"} for name in outputs}},
            opset_version=OPSET,
            dynamo=False,
        )
    described = {
        **pictures,
        "output_name": "heatmap",
        "stride": stride,
        "cell_offset_px": stride / 2,  # as `HeatmapPredictor.get_pose_prediction`
        "activation": "sigmoid" if predictor.apply_sigmoid else "clip" if predictor.clip_scores else "none",
        "refine": "none",
    }
    if predictor.location_refinement:
        described.update(offsets_name="locref", offsets_px=float(predictor.locref_std))
    network = onnx.load_from_string(written.getvalue())
    network.metadata_props.add(key="ibl_dask", value=json.dumps({"keypoints": keypoints, "options": described}))
    network.metadata_props.add(key="exported_by", value=f"deeplabcut {version} torch {torch.__version__}")
    onnx.checker.check_model(network)
    return {"keypoints": keypoints, "options": described}, network.SerializeToString()


def picture_options(config: dict[str, Any], adapter: Any) -> dict[str, Any]:
    """Return the options for the change of pixels before inference, or raise that there is another one."""
    changes = {name: value for name, value in dict(config["data"].get("inference") or {}).items() if value}
    others = sorted(name for name in changes if name not in UNDERSTOOD)
    if others or len(changes) > 1:
        raise adapter.EngineError(
            "the pictures of this network are changed in a way that ONNX cannot be told",
            "environment",
            "under data, inference: " + " or ".join(UNDERSTOOD) + " alone, or nothing",
            ", ".join(sorted(changes)),
            "run it as an engine of kind deeplabcut, or give it pictures of that size by `size:` of its part",
        )
    if "normalize_images" in changes:
        return {"scale": 1 / 255, "mean": MEAN, "std": STD}
    return {"scale": 1 / 255 if changes else 1.0}
