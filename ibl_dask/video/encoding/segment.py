"""Compressed packets of one chunk, and their form in a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Packets of one chunk, in decode order."""

    parameter_sets: bytes
    """Sequence and picture parameter sets, each behind a start code."""
    data: NDArray[np.uint8]
    """All packets as the encoder made them, NAL units behind start codes. (byte,)"""
    sizes: NDArray[np.int64]
    """Size of each packet, bytes. (packet,)"""
    frames: NDArray[np.int64]
    """Frame number of each packet, counted from the start of the video. (packet,)"""
    is_key: NDArray[np.bool_]
    """True for a packet where decoding may start. (packet,)"""
    delay: int
    """Number of frames that are decoded before the first one is shown."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    pixel_format: str
    """FFmpeg's name of the pixel format."""
    pixel_aspect: str | None
    """Width over height of a pixel, as a fraction; None if the source does not specify it."""
    colours: Mapping[str, int]
    """FFmpeg's numbers of the colour properties: `color_range`, `colorspace`, and so on."""
    digest: str
    """Digest of the packets as they are in an MP4, NAL units behind their lengths."""
    first_luma: str
    """Digest of the luma of the first frame, decoded."""

    def to_arrays(self) -> tuple[dict[str, NDArray[np.generic]], dict[str, object]]:
        """Return arrays, and facts that JSON holds, from which `from_arrays` builds the same segment."""
        content: dict[str, NDArray[np.generic]] = {name: getattr(self, name) for name in _ARRAYS}
        facts: dict[str, object] = {name: getattr(self, name) for name in _FACTS}
        return content, {**facts, "parameter_sets": self.parameter_sets.hex(), "colours": dict(self.colours)}

    @classmethod
    def from_arrays(cls, content: Mapping[str, NDArray[np.generic]], facts: Mapping[str, Any]) -> Segment:
        """Build a segment from the arrays and facts of `to_arrays`."""
        fields: dict[str, Any] = {name: content[name] for name in _ARRAYS}  # types of a file are not checked
        fields |= {name: facts[name] for name in _FACTS}
        return cls(**fields, parameter_sets=bytes.fromhex(facts["parameter_sets"]), colours=facts["colours"])


_ARRAYS = ("data", "sizes", "frames", "is_key")
_FACTS = ("delay", "width", "height", "pixel_format", "pixel_aspect", "digest", "first_luma")


def luma_digest(plane: NDArray[np.uint8]) -> str:
    """Return the SHA-256 of the pixels of a luma plane, (y, x) uint8."""
    return hashlib.sha256(np.ascontiguousarray(plane).tobytes()).hexdigest()
