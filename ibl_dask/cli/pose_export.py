"""`ibl-dask pose export` and `ibl-dask pose compare`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ibl_dask.cli.console import out as terminal
from ibl_dask.cli.guard import printable
from ibl_dask.errors import UsageError
from ibl_dask.model.choices import nearest

if TYPE_CHECKING:
    from ibl_dask.pose.engine import EngineSettings
    from ibl_dask.tasks.pose.export import Deviation


def export_engine(
    engine: str,
    video: Path,
    out: Path,
    profile: Path,
    n_frames: int,
    likely: float,
    most_px: float,
    onnx_python: str | None,
    overwrite: bool,
) -> int:
    """Write a network in ONNX; print its deviation, and the lines for a profile.

    Parameters
    ----------
    engine : str
        Name of the engine in the profile.
    profile : Path
        Site profile.
    video, out, n_frames, likely, most_px, onnx_python, overwrite
        See `export_network`.

    Raises
    ------
    UsageError
        If the profile has no such engine.
    """
    from ibl_dask.tasks.pose.export import export_network, record_path

    settings = _declared(profile, engine)
    exported = export_network(
        settings,
        video,
        out,
        n_frames=n_frames,
        likely=likely,
        most_px=most_px,
        onnx_python=onnx_python,
        overwrite=overwrite,
    )
    found = exported.deviation
    python = settings.python if onnx_python is None else onnx_python
    lines = [
        *_lines(found),
        f"record      {record_path(out)}",
        "",
        "engines:",
        f"  {engine}_onnx:",
        "    kind: onnx",
        *([f"    python: {python}"] if python else []),
        f"    weights: {out.absolute()}",
        f"    sha256: {exported.sha256}",
    ]
    _print(lines)
    return 0


def compare(
    engine: str, other: str, video: Path, profile: Path, n_frames: int, likely: float, device: str, as_json: bool
) -> int:
    """Print the deviation of one engine from another.

    Parameters
    ----------
    engine, other : str
        Names of the engines in the profile.
    profile : Path
        Site profile.
    video, n_frames, likely, device
        See `compare_engines`.
    as_json : bool
        Print a JSON object with the fields of `Deviation`.

    Raises
    ------
    UsageError
        If the profile has no such engine, or there is no such device.
    """
    from ibl_dask.tasks.pose.export import compare_engines

    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError("there is no such device", where="--device", expected="cpu or cuda", got=device)
    first, second = _declared(profile, engine), _declared(profile, other)
    found = compare_engines(first, second, video, n_frames=n_frames, likely=likely, device=device)
    if as_json:
        terminal.print(json.dumps(asdict(found)), markup=False, soft_wrap=True, highlight=False)
    else:
        _print(_lines(found))
    return 0


def _declared(profile: Path, engine: str) -> EngineSettings:
    """Return an engine of a profile."""
    from ibl_dask.deploy.site.schema import read_profile

    engines = read_profile(profile).engines
    if engine not in engines:
        meant = nearest(engine, engines)
        raise UsageError(
            f"the profile has no engine {engine}",
            where=str(profile),
            expected=f"an entry of `engines:`: {', '.join(engines) or 'there is none'}",
            got=engine,
            do=f"write {meant}, if that was meant" if meant else "declare it under `engines:`",
        )
    return engines[engine]


def _lines(found: Deviation) -> list[str]:
    return [
        f"deviation   {found.largest_px:.2g} px at most, {found.mean_px:.2g} px on average, of {found.n_likely:,} "
        f"points with a likelihood of {found.likely:g} or more in {found.n_frames:,} frames; likelihood "
        f"{found.largest_likelihood:.2g} at most",
        f"all points  {found.largest_px_of_all:.2g} px at most",
        f"from        {found.engine}",
        f"to          {found.other}",
    ]


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        terminal.print(printable(line), markup=False, soft_wrap=True)
