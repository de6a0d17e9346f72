"""Step that opens the engines of a camera: what they declare is the same in every chunk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from ibl_dask.errors import MissingEnvironment, WrongKeypoints
from ibl_dask.model.result import Result
from ibl_dask.model.step import Step, Upstream
from ibl_dask.pose.engine import Engine, EngineInfo, EngineSettings
from ibl_dask.pose.host.warm_engines import open_engine
from ibl_dask.pose.smoothing import require_distinct
from ibl_dask.tasks.pose.members import CameraNetworks, Member


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginesOpened(Result):
    """Declarations of the engines of a camera."""

    engines: Mapping[str, Mapping[str, object]]
    """Name of an engine -> its declaration, see `EngineInfo`; JSON."""

    def info(self, name: str) -> EngineInfo:
        """Return the declaration of an engine."""
        return _read_info(self.engines[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEngines(Step):
    """Open the engines of a camera once, and check that they fit together."""

    kind: ClassVar[str] = "engines"

    networks: CameraNetworks
    """Networks of the camera."""

    def identity(self) -> Mapping[str, object]:
        members = [member.fingerprint for member in self.networks.members]
        return {"members": members, "device": self.networks.declared.device}

    def run(self, upstream: Upstream) -> EnginesOpened:
        members = self.networks.members
        wanted = {member.settings.name: member.settings for member in members}
        with opened(list(wanted.values()), self.networks.declared.device) as engines:
            infos = {name: engine.info for name, engine in engines.items()}
        _require_alike(members, infos)
        names = {member.network.name: infos[member.settings.name].keypoints for member in members}
        require_distinct(names, f"{self.camera} camera")
        return EnginesOpened(engines={name: _write_info(info) for name, info in infos.items()})


@contextlib.contextmanager
def opened(settings: Sequence[EngineSettings], device: str) -> Iterator[dict[str, Engine]]:
    """Open several engines for the time of a block.

    Parameters
    ----------
    settings : sequence of EngineSettings
        The engines.
    device : str
        cpu or cuda.
    """
    with contextlib.ExitStack() as stack:
        yield {each.name: stack.enter_context(open_engine(each, device)) for each in settings}


def require_declared(engines: Mapping[str, Engine], known: EnginesOpened) -> None:
    """Raise unless engines on this worker declare what they declared when the chunks were planned.

    Raises
    ------
    MissingEnvironment
        If one differs, in its runtime for instance: its values must not stand beside those of another worker.
    """
    for name, engine in engines.items():
        expected = known.info(name)
        if engine.info != expected:
            changed = [key for key, value in asdict(engine.info).items() if getattr(expected, key) != value]
            raise MissingEnvironment(
                f"the engine {name} is another one on this worker",
                expected=", ".join(f"{key}: {getattr(expected, key)}" for key in changed),
                got=", ".join(f"{key}: {getattr(engine.info, key)}" for key in changed),
                do="give all workers of a pool the same environment and the same kind of GPU",
            )


def _require_alike(members: Sequence[Member], infos: Mapping[str, EngineInfo]) -> None:
    """Raise unless the engines of an ensemble have the same keypoints."""
    first: dict[str, Member] = {}
    for member in members:
        other = first.setdefault(member.network.name, member)
        expected, got = infos[other.settings.name].keypoints, infos[member.settings.name].keypoints
        if expected != got:
            raise WrongKeypoints(
                f"the engines of {member.network.name} have different keypoints",
                where=f"{other.settings.name}, {member.settings.name}",
                expected=", ".join(expected),
                got=", ".join(got),
                do="give an ensemble engines of one network, trained several times",
            )


def _write_info(info: EngineInfo) -> dict[str, object]:
    content = asdict(info)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}


def _read_info(content: Mapping[str, object]) -> EngineInfo:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    return EngineInfo(**values)  # type: ignore[arg-type]  # as `_write_info` wrote them
