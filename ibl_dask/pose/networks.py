"""Networks of a pose estimator: the part of the frame that each gets, on which cameras, and by which engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from ibl_dask.pose.smoothers.rules import IBL_PAWS, IBL_PUPIL, EnsembleSmoothing

Estimator = Literal["dlc", "lightning_pose"]
"""Pose estimator, as experiment descriptions name it."""
Device = Literal["cuda", "cpu"]
"""Device that engines run on."""
LEAST_LIKELIHOOD = 0.9
"""Likelihood from which on a point locates a window (iblvideo 3.2.0, `pose_dlc`)."""
MEDIAN_FRAMES: Mapping[Estimator, int] = MappingProxyType({"dlc": 5, "lightning_pose": 0})
"""Window of the median filter of each estimator, frames; 0 for none. DeepLabCut's `filterpredictions` takes 5."""
ALF_NAMES: Mapping[Estimator, str] = MappingProxyType({"dlc": "dlc", "lightning_pose": "lightningPose"})
"""Estimator -> attribute in the names of its ALF files."""


@dataclass(frozen=True, slots=True)
class CropRule:
    """Rule by which a window is placed: at an offset from where keypoints are on average."""

    anchors: tuple[str, ...]
    """Keypoints of the locating network; the window follows the mean of their places."""
    width: int
    """Width of the window, px of the reference size."""
    height: int
    """Height of the window, px of the reference size."""
    left: int
    """Left edge of the window relative to the anchor, px of the reference size."""
    top: int
    """Top edge of the window relative to the anchor, px of the reference size."""


@dataclass(frozen=True, slots=True)
class View:
    """Picture of a camera as networks are trained on it."""

    flip: bool = False
    """Mirrored left to right."""
    scale: float = 1.0
    """Factor from pixels of the frame to those of the reference size."""
    enlarge: bool = False
    """Resize pictures to the reference size; without it their networks take any size."""


@dataclass(frozen=True, slots=True)
class Network:
    """Network of an estimator, or an ensemble of the same network."""

    name: str
    """Name."""
    engines: tuple[str, ...]
    """Names of its engines in the profile; several for an ensemble."""
    cameras: tuple[str, ...] = ()
    """Labels of the cameras it is for; empty for all."""
    crop: CropRule | None = None
    """Part of the frame that it gets; None for the whole."""
    locate: str = ""
    """Engine in the profile that locates its window, on the whole frame; empty for its own first engine."""
    gain: float = 1.0
    """Factor of the brightness of its pictures."""
    size: tuple[int, int] | None = None
    """Height and width that its pictures are resized to, px; None for none."""
    factor: float | None = None
    """Fixed factor from pixels of its pictures to those of the reference size; see `PictureMap`."""
    smoothing: EnsembleSmoothing | None = None
    """How its ensemble is smoothed over the video, where the set has a smoother; None for medians of the members."""

    def rule(self) -> dict[str, object]:
        """Return what its values depend on beside its engine; JSON."""
        size = None if self.size is None else list(self.size)
        crop = None if self.crop is None else {**asdict(self.crop), "anchors": list(self.crop.anchors)}
        return {"crop": crop, "gain": self.gain, "size": size, "factor": self.factor}


@dataclass(frozen=True, slots=True)
class NetworkSet:
    """Networks of one estimator, as a site declares them under `networks:` in its profile."""

    estimator: Estimator
    """dlc or lightning_pose."""
    networks: tuple[Network, ...]
    """Networks, in the order of their columns."""
    views: Mapping[str, View] = field(default_factory=dict, hash=False)
    """Label of a camera -> its view; cameras that are not listed are taken as they are."""
    device: Device = "cuda"
    """Device that the engines run on."""
    decode: Device = "cpu"
    """Device that chunks are decoded on: cuda for NVDEC, where it gives the pixels of the CPU."""
    median_frames: int = 0
    """Window of the median filter over frames, odd; 0 for none."""
    smoother: str = ""
    """Python of the environment of the ensemble Kalman smoother; empty for none."""

    def smoothing_of(self, network: Network) -> EnsembleSmoothing | None:
        """Return how the ensemble of a network is smoothed over the video; None where it is not."""
        return network.smoothing if self.smoother and len(network.engines) > 1 else None

    def of_camera(self, label: str) -> tuple[Network, ...]:
        """Return the networks of a camera."""
        return tuple(network for network in self.networks if not network.cameras or label in network.cameras)

    def view(self, label: str) -> View:
        """Return the view of a camera."""
        return self.views.get(label, View())

    def engine_names(self) -> tuple[str, ...]:
        """Return the names of all engines, each once."""
        names = [name for network in self.networks for name in (network.locate, *network.engines) if name]
        return tuple(dict.fromkeys(names))


_SIDES = ("left", "right")
IBL_VIEWS: Mapping[Estimator, Mapping[str, View]] = MappingProxyType(
    {
        "dlc": {"right": View(flip=True, scale=2.0, enlarge=True)},
        "lightning_pose": {"right": View(flip=True, scale=2.0)},
    }
)
"""Views of iblvideo 3.2.0: the right camera of 640x512 px looks like a mirrored left one of 1280x1024."""
IBL_LOCATE = "roi_detect"
"""Network of IBL that locates the windows of the side cameras."""
IBL_NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        network.name: network
        for network in (
            Network("nose_tip", (), _SIDES, CropRule(("nose_tip",), 100, 100, -50, -50)),
            Network("eye", (), _SIDES, CropRule(("pupil_top_r",), 100, 100, -50, -50), gain=4.0, smoothing=IBL_PUPIL),
            Network("paws", (), _SIDES, size=(102, 128), factor=10.0, smoothing=IBL_PAWS),
            Network("tongue", (), _SIDES, CropRule(("tube_top", "tube_bottom"), 160, 160, -60, -100)),
            Network("tail_start", (), ("body",), CropRule(("tail_start",), 220, 220, -110, -110)),
        )
    }
)
"""Networks of IBL without their engines: windows, brightness and sizes of iblvideo 3.2.0, `pose_dlc`. Lightning Pose
resizes within the network, so `paws` gets the whole frame there, and its ensembles are smoothed (`params_lp`)."""


def ibl_network(name: str, estimator: Estimator, engines: tuple[str, ...], locate: str) -> Network | None:
    """Return one of IBL's networks with its engines; None for another name.

    Parameters
    ----------
    name : str
        Name of the network.
    estimator : str
        dlc or lightning_pose.
    engines : tuple of str
        Names of its engines.
    locate : str
        Name of the engine of `roi_detect`; empty if the site has none.
    """
    known = IBL_NETWORKS.get(name)
    if known is None:
        return None
    is_lightning = estimator == "lightning_pose"
    known = replace(known, size=None, factor=None) if is_lightning else replace(known, smoothing=None)
    return replace(known, engines=engines, locate=locate if "body" not in known.cameras else "")
