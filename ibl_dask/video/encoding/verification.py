"""Verification of a chunk while it is encoded: every packet is decoded and compared with its source frame."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import av
import numpy as np

from ibl_dask.errors import CorruptOutput
from ibl_dask.video.encoding.fidelity import (
    SSIM_STRIDE,
    Claim,
    Fidelity,
    error_energy,
    fits_neighbour,
    lost_share,
    psnr_db,
    ssim,
)
from ibl_dask.video.encoding.segment import luma_digest
from ibl_dask.video.framepass import FramePass
from ibl_dask.video.pixels import luma, peak_of, stored_luma

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

    from ibl_dask.model.chunk import Chunk
    from ibl_dask.video.encoding.fidelity import Plane
    from ibl_dask.video.reducers.protocol import Reducer

_KIND_B = 3
"""FFmpeg's number of B-pictures."""


class ChunkVerifier:
    """Decoder of a chunk's packets, and comparison of each frame with its source.

    Parameters
    ----------
    path : Path
        The raw video, for messages.
    chunk : Chunk
        Frames of the chunk.
    parameters : bytes
        Parameter sets of the encoder, behind start codes.
    reducers : sequence of Reducer
        Measurements of the compressed frames.
    """

    def __init__(self, path: Path, chunk: Chunk, parameters: bytes, reducers: Sequence[Reducer]) -> None:
        self._path = path
        decoder: VideoCodecContext = av.CodecContext.create("h264", "r")
        decoder.extradata = parameters
        decoder.thread_count = 1
        decoder.options = {"err_detect": "explode"}
        self._decoder = decoder
        self._chunk = chunk
        self._sources: deque[tuple[int, Plane, av.VideoFrame]] = deque()
        """Number, luma and frame of those that wait for their compressed copy, and of the one before them."""
        self._next = chunk.start
        self._psnr: list[float] = []
        self._ssim: list[float] = []
        self._misplaced: list[bool] = []
        self._first_luma = ""
        self._apart_before = np.inf
        self._claims: dict[int, Claim] = {}
        """Loss that the encoder reports, of frames that are not compared yet."""
        self._lost_share: list[float] = []
        self._unaccounted: list[bool] = []
        self.frame_pass = FramePass(chunk, reducers)
        self._ready: deque[av.VideoFrame] = deque()

    def expect(self, number: int, source: av.VideoFrame) -> None:
        """Add a frame that was given to the encoder, in the encoder's pixel format."""
        self._sources.append((number, stored_luma(source), source))

    def add(self, packets: Iterable[Packet[VideoStream]]) -> None:
        """Decode packets, and compare the frames that come out."""
        for packet in packets:
            self._claims[int(packet.pts or 0)] = claim_of(packet)
            self._decode(packet)
        # A frame is compared with the source's next frame as well, so the last one waits.
        while self._ready and self._sources[-1][0] > self._next:
            self._compare(self._ready.popleft())

    def finish(self) -> tuple[Fidelity, str]:
        """Return the fidelity of the chunk, and the digest of its first frame's luma.

        Raises
        ------
        CorruptOutput
            If the packets do not decode to the frames of the chunk.
        """
        self._decode(None)
        while self._ready and self._next < self._chunk.stop:
            self._compare(self._ready.popleft())
        if self._next != self._chunk.stop or self._ready:
            raise _not_decoded(self._path, self._chunk, self._next)
        fidelity = Fidelity(
            np.array(self._psnr, np.float32),
            np.array(self._ssim, np.float32),
            np.array(self._misplaced, np.bool_),
            np.array(self._lost_share, np.float32),
            np.array(self._unaccounted, np.bool_),
        )
        return fidelity, self._first_luma

    def _decode(self, packet: Packet[VideoStream] | None) -> None:
        try:
            self._ready.extend(self._decoder.decode(packet))
        except av.error.FFmpegError as error:
            raise _not_decoded(self._path, self._chunk, self._next) from error

    def _compare(self, frame: av.VideoFrame) -> None:
        number = self._next
        if frame.is_corrupt or frame.pts != number:
            raise _not_decoded(self._path, self._chunk, number)
        while self._sources[0][0] < number - 1:
            self._sources.popleft()
        near = {n: plane for n, plane, _ in islice(self._sources, 3)}
        result, source = stored_luma(frame), near[number]
        energy = error_energy(result, source)
        apart_after = error_energy(source, near[number + 1]) if number + 1 in near else np.inf
        beside = ((number - 1, self._apart_before), (number + 1, apart_after))
        self._misplaced.append(any(n in near and fits_neighbour(result, energy, near[n], apart) for n, apart in beside))
        self._apart_before = apart_after
        self._psnr.append(psnr_db(energy, source.size, peak_of(frame)))
        self._lost_share.append(lost_share(energy, source))
        self._unaccounted.append(not self._claims.pop(number).accounts_for(energy, source.size, peak_of(frame)))
        of_both = (luma(frame), luma(next(f for n, _, f in self._sources if n == number)))
        self._ssim.append(ssim(*of_both) if number % SSIM_STRIDE == 0 else np.nan)
        if number == self._chunk.start:
            self._first_luma = luma_digest(luma(frame))
        self.frame_pass.add(number, frame)
        self._next += 1


def claim_of(packet: Packet[VideoStream]) -> Claim:
    """Return the loss of luma that the encoder reports of a frame.

    Notes
    -----
    FFmpeg's quality statistics: quality (4 bytes), kind of picture (1), number of planes (1), padding (2), then 8 bytes
    for each plane, all little-endian.
    """
    for side in packet.iter_sidedata():
        content = bytes(side)
        if side.data_type == "quality_stats" and content[5]:
            return Claim(float(int.from_bytes(content[8:16], "little")), content[4] == _KIND_B)
    return Claim(float("nan"), is_b=False)


def _not_decoded(path: Path, chunk: Chunk, number: int) -> CorruptOutput:
    return CorruptOutput(
        "the encoder's output does not decode to the frames that were encoded",
        where=str(path),
        expected=f"frames {chunk.start:,} to {chunk.stop - 1:,}",
        got=f"nothing, or another frame, for frame {number:,}",
        do="run again; if it happens again, report this with the versions of PyAV and of this machine's processor: the "
        "raw video stays as it is",
    )
