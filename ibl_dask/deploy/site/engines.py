"""Pose engines in a profile's file: schema, and values that cannot work together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from ibl_dask.deploy.site.profile import Profile
from ibl_dask.deploy.site.value_parsers import parse_command, parse_folder, parse_walltime_s
from ibl_dask.errors import UsageError, WrongWeights
from ibl_dask.model.choices import nearest
from ibl_dask.pose.engine import ENGINE_KINDS, EngineKind, EngineSettings
from ibl_dask.pose.engines import option_names
from ibl_dask.pose.weights_digest import weights_digest

_Keypoint = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
_Time = Annotated[int, BeforeValidator(parse_walltime_s), Field(gt=0, le=86_400)]
_DEFAULT = EngineSettings(name="", kind="synthetic")
WITHOUT_WEIGHTS: tuple[EngineKind, ...] = ("synthetic",)
"""Kinds of engines that are no networks."""


class EngineSchema(BaseModel):
    """An engine in the file. Messages show the descriptions and examples of its fields."""

    model_config = ConfigDict(extra="forbid")

    kind: EngineKind = Field(description=" or ".join(ENGINE_KINDS), examples=["onnx"])
    python: Annotated[str, BeforeValidator(parse_command)] | None = Field(
        None, description="a Python that has the runtime of the engine", examples=["/shared/envs/onnx/bin/python"]
    )
    weights: Annotated[Path, BeforeValidator(parse_folder)] | None = Field(
        None, description="file or folder of the network, which every node sees", examples=["/shared/weights/eye.onnx"]
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = Field(
        None, description="SHA-256 of the weights, 64 hexadecimal digits", examples=["3f78..., from `sha256sum FILE`"]
    )
    keypoints: list[_Keypoint] = Field(
        default_factory=list,
        description="a list of names of keypoints: a letter, then letters, digits and _",
        examples=["[nose_tip]"],
    )
    options: dict[str, JsonValue] = Field(
        default_factory=dict, description="options of this kind of engine", examples=["{output: heatmap}"]
    )
    start_time_out: _Time = Field(
        int(_DEFAULT.start_s), description="longest time to load the engine, hh:mm:ss", examples=["00:05:00"]
    )
    batch_time_out: _Time = Field(
        int(_DEFAULT.batch_s), description="longest time for a batch of frames, hh:mm:ss", examples=["00:02:00"]
    )

    def to_settings(self, name: str) -> EngineSettings:
        """Return the engine."""
        python = self.python or ""
        return EngineSettings(
            name=name,
            kind=self.kind,
            python=str(Path(python).expanduser()) if python.startswith("~") else python,
            weights=self.weights,
            sha256=(self.sha256 or "").lower(),
            keypoints=tuple(self.keypoints),
            options=self.options,
            start_s=float(self.start_time_out),
            batch_s=float(self.batch_time_out),
        )


def engine_errors(profile: Profile) -> Iterator[UsageError]:
    """Yield every inconsistency of the engines of a profile."""
    for engine in profile.engines.values():
        yield from _weights_errors(profile, engine)
        yield from _option_errors(profile, engine)
        doubled = [name for name in engine.keypoints if engine.keypoints.count(name) > 1]
        if doubled:
            yield UsageError(
                f"engine {engine.name} has a keypoint twice",
                where=profile.line("engines", engine.name, "keypoints"),
                expected="each name once",
                got=doubled[0],
                do="give each keypoint its own name, in the order of the network's maps",
            )


def _weights_errors(profile: Profile, engine: EngineSettings) -> Iterator[UsageError]:
    given = {"weights": engine.weights is not None, "sha256": bool(engine.sha256)}
    if engine.kind in WITHOUT_WEIGHTS:
        for key in (key for key, is_given in given.items() if is_given):
            yield UsageError(
                f"an engine of kind {engine.kind} has no {key}",
                where=profile.line("engines", engine.name, key),
                expected=f"{key} with a network, of kind {_kinds_with_weights()}",
                got=key,
                do="remove the line, or write another kind",
            )
        return
    if not given["weights"]:
        yield UsageError(
            f"engine {engine.name} has no weights",
            where=profile.line("engines", engine.name),
            expected="the file or folder of its network",
            got="nothing",
            do="write `weights: /shared/weights/eye.onnx`, and its `sha256`",
        )
    elif not given["sha256"]:
        yield UsageError(
            f"the weights of engine {engine.name} are not pinned",
            where=profile.line("engines", engine.name, "weights"),
            expected="their SHA-256: another network under the same name would pass unnoticed",
            got="no sha256",
            do=f"write `sha256: {_digest(engine.weights)}`",
        )


def _option_errors(profile: Profile, engine: EngineSettings) -> Iterator[UsageError]:
    known = option_names(engine.kind)
    for name in engine.options:
        if name not in known:
            meant = nearest(name, known)
            yield UsageError(
                f"an engine of kind {engine.kind} has no option {name}",
                where=profile.line("engines", engine.name, "options", name),
                expected=f"one of {', '.join(known)}",
                got=name,
                do="remove it" if meant is None else f"write `{meant}`, if that was meant",
            )


def _kinds_with_weights() -> str:
    return " or ".join(kind for kind in ENGINE_KINDS if kind not in WITHOUT_WEIGHTS)


def _digest(weights: Path | None) -> str:
    """Return the SHA-256 of weights that are seen from here, for advice."""
    with contextlib.suppress(OSError, WrongWeights):
        return weights_digest(weights or Path())
    return "...`, as `sha256sum FILE` prints it, such as `3f78..."
