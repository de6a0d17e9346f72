"""Tasks that read what was brought for them, and that draw a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibl_dask.model.signature import ExpectedDataset, Signature
from ibl_dask.tasks.task import Task

if TYPE_CHECKING:
    from pathlib import Path


class Copies(Task):
    """Copies a file, and notes whether an optional one is there."""

    @property
    def signature(self) -> Signature:
        return Signature(
            inputs=(
                ExpectedDataset.input("wheel.position.npy", "raw_wheel"),
                ExpectedDataset.input("wheel.timestamps.npy", "raw_wheel", False),
            ),
            outputs=(ExpectedDataset.output("wheel.copy.npy", "alf"),),
        )

    def _run(self) -> list[Path]:
        source, optional = (
            self.session.path / "raw_wheel" / f"wheel.{part}.npy" for part in ("position", "timestamps")
        )
        target = self.session.path / "alf" / "wheel.copy.npy"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(source.read_bytes() + (b"+" if optional.exists() else b"-"))
        return [target]


class Draws(Task):
    """Draws a figure, and leaves a dataset beside it."""

    def _run(self) -> list[Path]:
        figure = self.session.path / "snapshot" / "dlc_qc_plot.png"
        table = self.session.path / "alf" / "licks.times.npy"
        for path, content in ((figure, self.image()), (table, b"times")):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        return [figure, table]

    def image(self) -> bytes:
        """Return the image that a file in the session names."""
        return (self.session.path / "image").read_bytes()
