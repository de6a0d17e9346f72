"""Networks of one camera with their engines, and the fingerprints of their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from ibl_dask.errors import UsageError
from ibl_dask.model.choices import advice
from ibl_dask.model.json_object import JsonObject
from ibl_dask.model.step import fingerprint
from ibl_dask.pose.engine import EngineSettings
from ibl_dask.pose.networks import ALF_NAMES, Network, NetworkSet, View

VALUES_VERSION = 1
"""Version of how pictures are made and engines are asked."""
SMOOTHED_VERSION = 1
"""Version of how smoothed ensembles become columns."""


@dataclass(frozen=True, slots=True)
class Member:
    """One engine of a network."""

    network: Network
    """The network."""
    settings: EngineSettings
    """The engine."""
    part: str
    """Name of its values in files: that of the network, with a number in an ensemble."""
    fingerprint: str
    """Changes with everything that its values depend on, save the video and the build of the engine."""

    def built(self, build: str) -> str:
        """Return the fingerprint with the build of the engine: values of two builds are not joined."""
        return fingerprint("pose_member", VALUES_VERSION, member=self.fingerprint, build=build)


@dataclass(frozen=True)
class CameraNetworks:
    """Networks of one camera."""

    label: str
    """Camera."""
    declared: NetworkSet
    """Networks of the estimator."""
    engines: Mapping[str, EngineSettings] = field(hash=False)
    """Engines of the site by name."""
    video: Mapping[str, object] = field(default_factory=dict, hash=False)
    """Identity of the video."""
    mark: str = ""
    """Changes whenever someone wants the keypoints estimated anew (`rerun_mark`); empty if nobody does."""

    def __post_init__(self) -> None:
        require_engines(self.declared, self.engines)

    @property
    def attribute(self) -> str:
        """Return the attribute of the pose table: dlc or lightningPose."""
        return ALF_NAMES[self.declared.estimator]

    @property
    def networks(self) -> tuple[Network, ...]:
        """Return the networks of the camera, in the order of their columns."""
        return self.declared.of_camera(self.label)

    @property
    def view(self) -> View:
        """Return the view of the camera."""
        return self.declared.view(self.label)

    @cached_property
    def locators(self) -> tuple[EngineSettings, ...]:
        """Return the engines that locate windows, each once."""
        names = dict.fromkeys(self.locator_of(n) for n in self.networks if n.crop is not None)
        return tuple(self.engines[name] for name in names)

    def locator_of(self, network: Network) -> str:
        """Return the name of the engine that locates the window of a network."""
        return network.locate or network.engines[0]

    def anchors_of(self, settings: EngineSettings) -> tuple[str, ...]:
        """Return the keypoints that windows are anchored on and that an engine has to find."""
        crops = [n.crop for n in self.networks if n.crop is not None and self.locator_of(n) == settings.name]
        return tuple(dict.fromkeys(anchor for crop in crops for anchor in crop.anchors))

    def located_fingerprint(self, settings: EngineSettings) -> str:
        """Return the fingerprint of the places that an engine finds in the video."""
        parts: dict[str, object] = {"engine": settings.identity(), "view": asdict(self.view), "video": dict(self.video)}
        return fingerprint("pose_places", VALUES_VERSION, **parts, **self._marked)

    @property
    def _marked(self) -> dict[str, str]:
        return {"rerun": self.mark} if self.mark else {}

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Return the engines of all networks of the camera."""
        return tuple(member for network in self.networks for member in self.members_of(network))

    def members_of(self, network: Network) -> tuple[Member, ...]:
        """Return the engines of a network."""
        is_ensemble = len(network.engines) > 1
        return tuple(
            Member(
                network,
                self.engines[name],
                f"{network.name}-{number}" if is_ensemble else network.name,
                self._fingerprint(network, self.engines[name]),
            )
            for number, name in enumerate(network.engines)
        )

    def network_fingerprint(self, network: Network) -> str:
        """Return the fingerprint of the published columns of a network."""
        members = [member.fingerprint for member in self.members_of(network)]
        smoothing = self.declared.smoothing_of(network)
        smoothed = {} if smoothing is None else {"smoothing": asdict(smoothing), "smoothed_version": SMOOTHED_VERSION}
        return fingerprint("pose_columns", 1, members=members, median_frames=self.declared.median_frames, **smoothed)

    def _fingerprint(self, network: Network, settings: EngineSettings) -> str:
        located = None
        if network.crop is not None:
            located = self.located_fingerprint(self.engines[self.locator_of(network)])
        parts: JsonObject = {"engine": settings.identity(), "rule": network.rule(), "view": asdict(self.view)}
        return fingerprint("pose_values", VALUES_VERSION, **parts, located=located, **self._marked)


def require_engines(declared: NetworkSet, engines: Mapping[str, EngineSettings]) -> None:
    """Raise unless every engine of a set of networks is declared.

    Raises
    ------
    UsageError
        If one is not.
    """
    unknown = [name for name in declared.engine_names() if name not in engines]
    if unknown:
        raise UsageError(
            f"the networks of {declared.estimator} name engines that are not declared",
            where="networks of the site profile",
            expected=", ".join(engines) or "entries of `engines:`",
            got=", ".join(unknown),
            do=advice(unknown[0], list(engines)) if engines else "declare them under `engines:` of the profile",
        )
