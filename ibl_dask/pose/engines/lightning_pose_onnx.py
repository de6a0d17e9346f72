"""Export of a network of Lightning Pose to ONNX, in the environment of Lightning Pose with the package `onnx`.

The graph takes normalised pictures of the network's size and returns the points of each, found by the library's own
layers: maps, soft maximum and likelihood. A network with context takes consecutive pictures, computes each once, and
returns a row for every picture with two before and two after it; the file that the library itself exports of one takes
five pictures for each row, and does not run on videos (Lightning Pose 2.4.3). Options in the metadata describe the
rest: a profile needs to name no more than the file.
"""

from __future__ import annotations

import io
import json
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

OPSET = 17
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Mean and standard deviation of red, green and blue that the library normalises with (ImageNet)."""
PROBE_FRAMES = 7


def export(adapter: Any, weights: str, options: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the description of a network and its content in ONNX.

    Parameters
    ----------
    adapter : module
        `lightning_pose_adapter`.
    weights, options
        See `lightning_pose_adapter.load`.
    """
    torch = adapter.library("cpu")
    import lightning_pose
    import onnx

    with tempfile.TemporaryDirectory(prefix="ibl_dask-lp-") as folder:
        model, config = adapter.read_model(*adapter.unpacked(weights, folder))
    keypoints = [str(name) for name in config.data.keypoint_names]
    size = config.data.image_resize_dims
    has_context = config.model.model_type == adapter.WITH_CONTEXT
    written = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            points_of(model, len(keypoints), adapter.CONTEXT if has_context else 0),
            (torch.zeros(PROBE_FRAMES, 3, int(size.height), int(size.width)),),
            written,
            input_names=["frames"],
            output_names=["points"],
            dynamic_axes={"frames": {0: "frame"}, "points": {0: "row"}},
            opset_version=OPSET,
            dynamo=False,
        )
    described: dict[str, Any] = {"output": "points", "scale": 1 / 255, "mean": MEAN, "std": STD}
    if has_context:
        described["context"] = adapter.CONTEXT
    network = onnx.load_from_string(written.getvalue())
    network.metadata_props.add(key="ibl_dask", value=json.dumps({"keypoints": keypoints, "options": described}))
    made_by = f"lightning-pose {lightning_pose.__version__} torch {torch.__version__}"
    network.metadata_props.add(key="exported_by", value=made_by)
    onnx.checker.check_model(network)
    return {"keypoints": keypoints, "options": described}, network.SerializeToString()


def points_of(model: Any, n_keypoints: int, context: int) -> Any:
    """Return the part of a network from pictures to points, as a module of PyTorch.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    n_keypoints : int
        Its keypoints.
    context : int
        Pictures to each side that a row depends on.
    """
    import torch

    class Points(torch.nn.Module):  # type: ignore[misc]  # no types here
        """Pictures (frame, 3, y, x) to points (row, keypoint, 3): x, y, likelihood."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, frames: Any) -> Any:
            head = self.model.head
            features = self.model.backbone(frames)
            if not context:
                return joined(*head.run_subpixelmaxima(head(features)))
            n_around = 2 * context + 1
            around = [features[at : features.shape[0] - (n_around - 1 - at)] for at in range(n_around)]
            single, several = head(torch.stack(around, -1), frames.shape, False)
            alone, together = joined(*head.run_subpixelmaxima(single)), joined(*head.run_subpixelmaxima(several))
            # As `HeatmapTrackerMHCRNN.predict_step`: the likelier of the two points.
            return torch.where(together[..., 2:] > alone[..., 2:], together, alone)

    def joined(places: Any, likelihood: Any) -> Any:
        return torch.cat([places.reshape(-1, n_keypoints, 2), likelihood.reshape(-1, n_keypoints, 1)], 2)

    return Points().eval()
