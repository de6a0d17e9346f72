"""`ibl-dask pose export`."""

from __future__ import annotations

from pathlib import Path

from ibl_dask.cli.console import out as terminal
from ibl_dask.cli.guard import printable
from ibl_dask.errors import UsageError
from ibl_dask.model.choices import nearest


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
    from ibl_dask.deploy.site.schema import read_profile
    from ibl_dask.tasks.pose.export import export_network, record_path

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
    exported = export_network(
        engines[engine],
        video,
        out,
        n_frames=n_frames,
        likely=likely,
        most_px=most_px,
        onnx_python=onnx_python,
        overwrite=overwrite,
    )
    found = exported.deviation
    python = engines[engine].python if onnx_python is None else onnx_python
    lines = [
        f"deviation   {found.largest_px:.2g} px at most, {found.mean_px:.2g} px on average, of {found.n_likely:,} "
        f"points with a likelihood of {found.likely:g} or more in {found.n_frames:,} frames; likelihood "
        f"{found.largest_likelihood:.2g} at most",
        f"all points  {found.largest_px_of_all:.2g} px at most",
        f"from        {found.engine}",
        f"to          {found.onnx}",
        f"record      {record_path(out)}",
        "",
        "engines:",
        f"  {engine}_onnx:",
        "    kind: onnx",
        *([f"    python: {python}"] if python else []),
        f"    weights: {out.absolute()}",
        f"    sha256: {exported.sha256}",
    ]
    for line in lines:
        terminal.print(printable(line), markup=False, soft_wrap=True)
    return 0
