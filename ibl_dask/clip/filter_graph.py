"""FFmpeg's filter graph of a clip, built with `ffmpeg-python` for the program of `imageio-ffmpeg`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from ibl_dask.errors import MissingEnvironment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

_PACKAGES = {"ffmpeg": "ffmpeg-python", "imageio_ffmpeg": "imageio-ffmpeg"}
"""Module -> its package."""
_MATRIX = "bt709"
_CODEC = {
    "vcodec": "libx264",
    "preset": "medium",
    "crf": 18,
    "movflags": "+faststart",
    "colorspace": _MATRIX,
    "color_primaries": _MATRIX,
    "color_trc": _MATRIX,
    "color_range": "tv",
}


def require_program() -> None:
    """Require the packages of the extra `clip`, without importing them.

    Raises
    ------
    MissingEnvironment
        If one is not installed.
    """
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise MissingEnvironment(
            "packages for clips are not installed",
            expected="the packages of the extra `clip`",
            got=f"no {' and no '.join(missing)}",
            do="install them: pip install 'ibl_dask[clip]'",
        )


def ffmpeg_command(panels: Sequence[tuple[int, tuple[int, int]]], rate: Fraction, target: Path) -> list[str]:
    """Return the command that joins panels side by side into a clip, H.264 in MP4 that players and browsers show.

    Parameters
    ----------
    panels : sequence of (int, (int, int))
        For each camera the descriptor of the pipe that its panels come through, as raw blue, green and red, and their
        width and height, px; all of one height.
    rate : Fraction
        Frames per second.
    target : Path
        The file.

    Raises
    ------
    MissingEnvironment
        If the packages, or the program itself, are missing.
    """
    require_program()
    import ffmpeg
    import imageio_ffmpeg

    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise MissingEnvironment(
            "the program of FFmpeg is missing",
            expected="the one that comes with imageio-ffmpeg",
            got=str(error),
            do="install imageio-ffmpeg from its wheel, or name a program in $IMAGEIO_FFMPEG_EXE",
        ) from error
    inputs = [
        ffmpeg.input(f"pipe:{pipe}", format="rawvideo", pixel_format="bgr24", video_size=size, framerate=f"{rate}")
        for pipe, size in panels
    ]
    joined = inputs[0] if len(inputs) == 1 else ffmpeg.filter(inputs, "hstack", inputs=len(inputs))
    shown = joined.filter("scale", out_color_matrix=_MATRIX, out_range="tv").filter("format", "yuv420p")
    # With `file:` before it, no name is taken for an address or an option.
    written = ffmpeg.output(shown, f"file:{target}", format="mp4", r=f"{rate}", **_CODEC)
    command: list[str] = ffmpeg.compile(written, cmd=[program, "-v", "error", "-nostdin"])
    return command
