"""Encoding profiles: named settings of the compression of raw videos.

A profile never changes once it has a name: changed settings are another profile. It is part of the fingerprint of the
compressed video, together with the build of x264.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ibl_dask.errors import UsageError


@dataclass(frozen=True, slots=True)
class EncodingProfile:
    """Settings of x264, and required fidelity of the result."""

    name: str
    """Name of the profile."""
    crf: int
    """Constant rate factor: lower values give larger and more faithful files."""
    psnr_floor_db: float
    """Lowest median PSNR of a chunk of frames, dB.

    One pass of x264 over seven clips, drawn with a camera's noise and real, gave medians from 39.9 to 50.0 dB at CRF 17
    and from 30.7 to 45.2 dB at 29, the lowest for the smallest and noisiest pictures. Floors are 4 dB under the lowest:
    amplitudes of errors 1.6 times as large.
    """
    preset: str = "slow"
    """Effort of the encoder."""
    longest_gop: int = 250
    """Largest distance between keyframes, frames; a small one makes access to single frames faster."""

    def settings(self) -> dict[str, object]:
        """Return all settings, for fingerprints; JSON."""
        return asdict(self)

    def options(self) -> dict[str, str]:
        """Return the options of FFmpeg's encoder."""
        return {"preset": self.preset, "crf": str(self.crf), "g": str(self.longest_gop)}


PROFILES = {
    profile.name: profile
    for profile in (
        EncodingProfile("ibl", crf=17, psnr_floor_db=36.0),
        EncodingProfile("ibl_bpod", crf=29, psnr_floor_db=26.5),
        EncodingProfile("short_gop", crf=17, psnr_floor_db=36.0, longest_gop=25),
    )
}


def find_profile(name: str) -> EncodingProfile:
    """Return a profile by its name.

    Raises
    ------
    UsageError
        If no profile has that name.
    """
    if name not in PROFILES:
        raise UsageError(
            "there is no such encoding profile",
            expected=", ".join(PROFILES),
            got=name,
            do="ask for one of these",
        )
    return PROFILES[name]
