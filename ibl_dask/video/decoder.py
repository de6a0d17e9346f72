"""What decodes videos here: what comes out may differ from one version of FFmpeg to the next."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

_LIBRARIES = ("libavcodec", "libswscale")


@cache
def decoder_build() -> str:
    """Return the versions of PyAV, and of the parts of FFmpeg that make pixels."""
    import av

    parts = (f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in _LIBRARIES)
    return ", ".join([_release(), *parts])


def may_be_here(build: str) -> bool:
    """Return whether something was decoded by what is installed here, as far as the version of PyAV tells.

    For plans, which do not load what decodes.
    """
    return build.split(", ")[0] == _release()


@cache
def _release() -> str:
    return f"PyAV {version('av')}"
