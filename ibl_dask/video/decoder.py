"""Versions of the decoder, on which the pixels of a video may depend."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

_LIBRARIES = ("libavcodec", "libswscale")


@cache
def decoder_build() -> str:
    """Return the versions of PyAV, and of the libraries of FFmpeg that compute pixels."""
    import av

    parts = (f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in _LIBRARIES)
    return ", ".join([_release(), *parts])


def may_be_installed(build: str) -> bool:
    """Return whether a decoder build may be the installed one: its version of PyAV is.

    For plans, which do not load FFmpeg.
    """
    return build.split(", ")[0] == _release()


@cache
def _release() -> str:
    return f"PyAV {version('av')}"
