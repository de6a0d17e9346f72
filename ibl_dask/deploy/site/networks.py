"""Networks of pose estimators in a profile's file: schema, and names that must fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt

from ibl_dask.deploy.site.profile import Profile
from ibl_dask.deploy.site.value_parsers import parse_command
from ibl_dask.errors import UsageError
from ibl_dask.model.choices import advice, nearest
from ibl_dask.model.description import LABELS
from ibl_dask.pose.networks import (
    IBL_LOCATE,
    IBL_NETWORKS,
    IBL_VIEWS,
    MEDIAN_FRAMES,
    CropRule,
    Device,
    Estimator,
    Network,
    NetworkSet,
    View,
    ibl_network,
)
from ibl_dask.pose.smoothers.rules import EnsembleSmoothing, SmoothingKind

ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
"""Estimators that a profile may declare networks for."""
_Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
_Pixels = Annotated[StrictInt, Field(ge=1, le=100_000)]
_Offset = Annotated[StrictInt, Field(ge=-100_000, le=100_000)]


def _as_part(value: object) -> object:
    """Return the mapping of a part that is given as the name of its engine, or a list of names."""
    return value if isinstance(value, Mapping) else {"engine": value}


def _as_names(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Names = Annotated[list[_Name], BeforeValidator(_as_names)]


class _CropSchema(BaseModel):
    model_config = ConfigDict(extra="forbid")

    anchors: Annotated[_Names, Field(min_length=1)]
    width: _Pixels
    height: _Pixels
    left: _Offset
    top: _Offset

    def to_rule(self) -> CropRule:
        return CropRule(tuple(self.anchors), self.width, self.height, self.left, self.top)


class _SmoothSchema(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: SmoothingKind
    diameter: float = Field(EnsembleSmoothing("pupil").diameter, gt=0, lt=1)
    centre: float = Field(EnsembleSmoothing("pupil").centre, gt=0, lt=1)
    s: float = Field(EnsembleSmoothing("keypoints").s, gt=0, le=1e6)
    inflation: float = Field(1.0, gt=0, le=1e6)

    def to_rule(self) -> EnsembleSmoothing:
        return EnsembleSmoothing(self.kind, self.diameter, self.centre, self.s, inflation=self.inflation)


class _PartSchema(BaseModel):
    model_config = ConfigDict(extra="forbid")

    engine: Annotated[_Names, Field(min_length=1)]
    cameras: _Names = Field(default_factory=list)
    crop: _CropSchema | None = None
    locate: _Name | None = None
    gain: float | None = Field(None, gt=0, le=255)
    size: tuple[_Pixels, _Pixels] | None = None
    factor: float | None = Field(None, gt=0, le=1000)
    smooth: _SmoothSchema | None = None

    def to_network(self, name: str, known: Network | None) -> Network:
        """Return the network; what is not given is that of a known one."""
        base = Network(name, ()) if known is None else known
        return Network(
            name,
            tuple(self.engine),
            tuple(self.cameras) or base.cameras,
            base.crop if self.crop is None else self.crop.to_rule(),
            self.locate or base.locate,
            base.gain if self.gain is None else self.gain,
            self.size or base.size,
            self.factor or base.factor,
            base.smoothing if self.smooth is None else self.smooth.to_rule(),
        )


class _ViewSchema(BaseModel):
    model_config = ConfigDict(extra="forbid")

    flip: bool = False
    scale: float = Field(1.0, gt=0, le=100)
    enlarge: bool = False


class NetworkSetSchema(BaseModel):
    """Networks of an estimator in the file. Messages show the descriptions and examples of its fields."""

    model_config = ConfigDict(extra="forbid")

    device: Device = Field("cuda", description="cuda or cpu", examples=["cpu"])
    decode: Device = Field("cpu", description="cuda or cpu", examples=["cuda"])
    preset: Literal["ibl"] | None = Field(
        None, description="ibl, for the windows and views of IBL's networks", examples=["ibl"]
    )
    median_frames: Annotated[StrictInt, Field(ge=0, le=999)] | None = Field(
        None, description="window of the median filter, an odd number of frames, or 0 for none", examples=["5"]
    )
    views: dict[_Name, _ViewSchema] = Field(
        default_factory=dict,
        description="a view for each camera, with flip, scale and enlarge",
        examples=["{right: {flip: true}}"],
    )
    parts: dict[_Name, Annotated[_PartSchema, BeforeValidator(_as_part)]] = Field(
        min_length=1,
        description="for each network its engine, a list of engines, or a mapping with engine, cameras, crop, locate, "
        "gain, size, factor and smooth",
        examples=["{whole: my_engine}"],
    )
    smoother: Annotated[str, BeforeValidator(parse_command)] | None = Field(
        None,
        description="a Python that has the package ensemble-kalman-smoother",
        examples=["/shared/envs/eks/bin/python"],
    )

    def to_set(self, estimator: Estimator) -> NetworkSet:
        """Return the networks, those of IBL in IBL's order."""
        is_ibl = self.preset == "ibl"
        locating = self.parts.get(IBL_LOCATE) if is_ibl else None
        locate = "" if locating is None else locating.engine[0]
        order = [name for name in IBL_NETWORKS if name in self.parts] if is_ibl else []
        names = [*order, *(name for name in self.parts if name not in order and not (is_ibl and name == IBL_LOCATE))]
        networks = []
        for name in names:
            part = self.parts[name]
            known = ibl_network(name, estimator, tuple(part.engine), locate) if is_ibl else None
            if known is not None and not (self.smoother and len(part.engine) > 1):
                known = replace(known, smoothing=None)  # only a profile may ask for it in vain
            networks.append(part.to_network(name, known))
        views = dict(IBL_VIEWS[estimator]) if is_ibl else {}
        views |= {label: View(view.flip, view.scale, view.enlarge) for label, view in self.views.items()}
        median = MEDIAN_FRAMES[estimator] if self.median_frames is None else self.median_frames
        smoother = self.smoother or ""
        smoother = str(Path(smoother).expanduser()) if smoother.startswith("~") else smoother
        return NetworkSet(estimator, tuple(networks), views, self.device, self.decode, median, smoother)


def network_errors(profile: Profile) -> Iterator[UsageError]:
    """Yield every inconsistency of the networks of a profile."""
    for declared in profile.networks.values():
        if declared.median_frames > 1 and declared.median_frames % 2 == 0:
            yield UsageError(
                f"the median filter of {declared.estimator} has no middle",
                where=profile.line("networks", declared.estimator, "median_frames"),
                expected="an odd number of frames",
                got=str(declared.median_frames),
                do=f"write `median_frames: {declared.median_frames + 1}`",
            )
        if declared.decode == "cuda" and declared.device == "cpu":
            yield UsageError(
                f"chunks of {declared.estimator} are to be decoded on GPUs, and go to workers without one",
                where=profile.line("networks", declared.estimator, "decode"),
                expected="`decode: cpu`, or `device: cuda`",
                got="`decode: cuda` and `device: cpu`",
                do="remove the line, or remove `device: cpu`",
            )
        for network in declared.networks:
            yield from _engine_errors(profile, declared, network)
            yield from _camera_errors(profile, declared, network)
            yield from _anchor_errors(profile, declared, network)
            yield from _smoothing_errors(profile, declared, network)
            yield from _whole_video_errors(profile, declared, network)


def _whole_video_errors(profile: Profile, declared: NetworkSet, network: Network) -> Iterator[UsageError]:
    """Yield programs that take whole videos beside other networks, or with what only engines of frames have."""
    whole = [name for name in network.engines if name in profile.engines and profile.engines[name].kind == "iblvideo"]
    is_plain = network == Network(network.name, network.engines, network.cameras)
    if whole and (len(declared.networks) > 1 or len(network.engines) > 1 or not is_plain):
        yield UsageError(
            f"engine {whole[0]} takes whole videos, and stands among other networks",
            where=profile.line("networks", declared.estimator, "parts", network.name),
            expected=f"`parts: {{all: {whole[0]}}}` alone: iblvideo has networks and windows of its own",
            got=", ".join(each.name for each in declared.networks),
            do="remove the other parts and the keys of this one, or give its networks as engines of their own",
        )


def _engine_errors(profile: Profile, declared: NetworkSet, network: Network) -> Iterator[UsageError]:
    where = profile.line("networks", declared.estimator, "parts", network.name)
    for name in dict.fromkeys((*network.engines, *((network.locate,) if network.locate else ()))):
        if name not in profile.engines:
            meant = nearest(name, profile.engines)
            yield UsageError(
                f"network {network.name} has an engine that is not declared",
                where=where,
                expected=f"an entry of `engines:`: {', '.join(profile.engines) or 'there is none'}",
                got=name,
                do=f"write {meant}, if that was meant" if meant else f"declare `{name}:` under `engines:`",
            )


def _camera_errors(profile: Profile, declared: NetworkSet, network: Network) -> Iterator[UsageError]:
    for label in network.cameras:
        if label not in LABELS:
            yield UsageError(
                f"network {network.name} is for a camera that no rig has",
                where=profile.line("networks", declared.estimator, "parts", network.name, "cameras"),
                expected=", ".join(LABELS),
                got=label,
                do=advice(label, LABELS),
            )


def _anchor_errors(profile: Profile, declared: NetworkSet, network: Network) -> Iterator[UsageError]:
    """Yield anchors that the locating engine does not find, as far as the profile names its keypoints."""
    engine = profile.engines.get(network.locate or network.engines[0])
    if network.crop is None or engine is None or not engine.keypoints:
        return
    for anchor in network.crop.anchors:
        if anchor not in engine.keypoints:
            yield UsageError(
                f"the window of network {network.name} is anchored on a point that {engine.name} does not find",
                where=profile.line("networks", declared.estimator, "parts", network.name),
                expected=", ".join(engine.keypoints),
                got=anchor,
                do="write another anchor, or another engine to `locate` it",
            )


def _smoothing_errors(profile: Profile, declared: NetworkSet, network: Network) -> Iterator[UsageError]:
    """Yield smoothing that a profile asks for and that cannot be done."""
    if network.smoothing is None:
        return
    where = profile.line("networks", declared.estimator, "parts", network.name, "smooth")
    if len(network.engines) < 2:
        yield UsageError(
            f"network {network.name} is smoothed as an ensemble, and is none",
            where=where,
            expected="two engines or more: their differences are the errors of the observations",
            got=", ".join(network.engines),
            do="list the engines of the ensemble, or remove `smooth:`",
        )
    elif not declared.smoother:
        yield UsageError(
            f"network {network.name} is to be smoothed, and the profile names no smoother",
            where=where,
            expected="`smoother:` of the estimator",
            got="nothing",
            do="name a Python that has ensemble-kalman-smoother: `smoother: /shared/envs/eks/bin/python`",
        )
