"""Commands `ibl-dask pose ...`; each is imported on call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

pose_app = typer.Typer(name="pose", help="Networks of pose engines.", no_args_is_help=True, rich_markup_mode=None)


@pose_app.command()
def export(
    engine: Annotated[str, typer.Argument(help="Name of the engine under `engines:` of the profile.")],
    video: Annotated[Path, typer.Argument(help="A video that the network was trained for.")],
    out: Annotated[Path, typer.Argument(help="File to write, in ONNX.")],
    profile: Annotated[Path, typer.Option("--profile", help="Site profile that declares the engine.")],
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames to compare, from all over the video.")] = 64,
    likely: Annotated[
        float, typer.Option("--likely", min=0, max=1, help="Likelihood from which on points have to agree.")
    ] = 0.9,
    most_px: Annotated[float, typer.Option("--most-px", min=0, help="Largest deviation that is accepted, px.")] = 0.05,
    onnx_python: Annotated[
        str | None, typer.Option("--onnx-python", help="Python with onnxruntime [that of the engine].")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Write the network of an engine in ONNX, and the deviation of its keypoints from those of the engine."""
    from ibl_dask.cli.pose_export import export_engine

    raise typer.Exit(export_engine(engine, video, out, profile, frames, likely, most_px, onnx_python, overwrite))


@pose_app.command()
def compare(
    engine: Annotated[str, typer.Argument(help="Name of the engine to compare with, under `engines:` of the profile.")],
    other: Annotated[str, typer.Argument(help="Name of the same network in another runtime or precision.")],
    video: Annotated[Path, typer.Argument(help="A video that the network was trained for.")],
    profile: Annotated[Path, typer.Option("--profile", help="Site profile that declares both.")],
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames to compare, from all over the video.")] = 64,
    likely: Annotated[
        float, typer.Option("--likely", min=0, max=1, help="Likelihood from which on points count as likely.")
    ] = 0.9,
    device: Annotated[str, typer.Option("--device", help="cpu, or cuda on a node with a GPU.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the deviation of the keypoints of one engine from those of another, on frames of a video."""
    from ibl_dask.cli.pose_export import compare

    raise typer.Exit(compare(engine, other, video, profile, frames, likely, device, as_json))
