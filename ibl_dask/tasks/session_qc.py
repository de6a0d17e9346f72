"""Checks of the cameras of a session, as `run_qc` of a task returns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ibl_dask.model.outcome import CheckResult, Number, Outcome
from ibl_dask.model.qc_record import CameraRecord, CheckRecord
from ibl_dask.qc.record import REFERENCE_CHECKS
from ibl_dask.report.check_rows import check_failure

Metric = Outcome | tuple[Outcome | Number, ...]
"""An outcome, or one and the numbers that the reference publishes beside it."""


@dataclass(frozen=True, slots=True, repr=False)
class CameraQc:
    """The checks of one camera."""

    label: str
    """left, right, ..."""
    outcome: Outcome
    """The worst of all its checks, those that the reference lacks included."""
    checks: Mapping[str, CheckResult] = field(default_factory=dict, hash=False)
    """Every check by its name, with measured value, threshold and all numbers."""
    failure: str = ""
    """Why it could not be checked at all; empty where it could."""

    @property
    def metrics(self) -> dict[str, Metric]:
        """Return the reference's checks by its keys, `_videoLeft_brightness` and so on."""
        known = {name: check for name, check in self.checks.items() if name in REFERENCE_CHECKS}
        return {self._key(name): (c.outcome, *c.numbers) if c.numbers else c.outcome for name, c in known.items()}

    @property
    def passed(self) -> dict[str, bool | None]:
        """Return True for each of the reference's checks that passed, by its keys; None for one that was not made."""
        return {
            self._key(name): None if check.outcome is Outcome.NOT_SET else check.outcome is Outcome.PASS
            for name, check in self.checks.items()
            if name in REFERENCE_CHECKS
        }

    def _key(self, name: str) -> str:
        return f"_video{self.label.capitalize()}_{name}"

    def __repr__(self) -> str:
        """Return one line with the checks that did not pass."""
        wrong = [f"{name} {c.outcome.name}" for name, c in self.checks.items() if c.outcome > Outcome.PASS]
        text = self.failure or ", ".join(wrong) or f"{len(self.checks)} checks"
        return f"CameraQc({self.label}: {self.outcome.name}; {text})"

    def _repr_html_(self) -> str:
        from ibl_dask.report.notebook import qc_html

        return qc_html([self])

    @classmethod
    def from_record(cls, label: str, record: CameraRecord) -> CameraQc:
        """Read the record of a camera in `qc.json`."""
        return cls(
            label,
            Outcome[record["outcome"]],
            {name: _check(content) for name, content in record["checks"].items()},
            str(record.get("failure", "")),
        )


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SessionQc(Mapping[str, CameraQc]):
    """The checks of some cameras, by their labels."""

    cameras: Mapping[str, CameraQc]
    """Label -> its checks."""

    @classmethod
    def from_record(cls, cameras: Mapping[str, CameraRecord]) -> SessionQc:
        """Read the records of the cameras in `qc.json`."""
        return cls({label: CameraQc.from_record(label, record) for label, record in cameras.items()})

    def __getitem__(self, label: str) -> CameraQc:
        return self.cameras[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self.cameras)

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def outcome(self) -> Outcome:
        """Return the worst outcome of all cameras."""
        return Outcome.worst(camera.outcome for camera in self.values())

    @property
    def metrics(self) -> dict[str, Metric]:
        """Return the reference's checks of all cameras by its keys, which hold their labels."""
        return {key: metric for camera in self.values() for key, metric in camera.metrics.items()}

    @property
    def passed(self) -> dict[str, bool | None]:
        """Return True for each of the reference's checks that passed, by its keys; None for one that was not made."""
        return {key: passed for camera in self.values() for key, passed in camera.passed.items()}

    def __repr__(self) -> str:
        return f"SessionQc({', '.join(map(repr, self.values()))})"

    def _repr_html_(self) -> str:
        from ibl_dask.report.notebook import qc_html

        return qc_html(list(self.values()))


def _check(content: CheckRecord) -> CheckResult:
    return CheckResult(
        content["name"],
        Outcome[content["outcome"]],
        tuple(content["numbers"]),
        content["measured"],
        content["threshold"],
        content["message"],
        dict(content["values"]),
        check_failure(content),
    )
