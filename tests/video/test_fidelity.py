"""Stretches that compress easily make no others look bad, and a frame that was damaged is found all the same."""

import dataclasses

import av
import cv2
import numpy as np
import pytest
from zoo import ffmpeg

from ibl_dask.errors import CorruptOutput
from ibl_dask.model.chunk import Chunk
from ibl_dask.video.container.index import index_video
from ibl_dask.video.encoding import x264
from ibl_dask.video.encoding.encode import encode_chunk
from ibl_dask.video.encoding.fidelity import Claim, error_energy
from ibl_dask.video.encoding.profiles import PROFILES

WIDTH, HEIGHT, N_FRAMES = 160, 128, 60
SOURCE = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", "60", "-i", "-")
WHOLE = Chunk(0, N_FRAMES)


def scene():
    """Return a textured picture that moves, with a camera's noise. (frame, y, x)"""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(40, 200, (HEIGHT, WIDTH), np.uint8), (0, 0), 1.5)
    moving = np.stack([np.roll(texture, 2 * number, axis=1) for number in range(N_FRAMES)])
    return np.clip(moving + rng.normal(0, 2, moving.shape), 0, 255).astype(np.uint8)


def uniform(level, where):
    frames = scene()
    frames[where] = level
    return frames


def dim(where):
    frames = scene()
    frames[where] = 18 + frames[where] // 60
    return frames


def noise(where):
    frames = scene()
    frames[where] = np.random.default_rng(1).integers(0, 256, frames[where].shape, np.uint8)
    return frames


STRETCHES = {
    "white to the end": uniform(255, slice(20, None)),
    "black at first": uniform(0, slice(0, 45)),
    "all but one frame white": uniform(235, np.arange(N_FRAMES) != 30),
    "all but one frame black": uniform(16, np.arange(N_FRAMES) != 30),
    "every second frame black": uniform(16, slice(0, None, 2)),
    "one grey in the middle": uniform(128, slice(10, 50)),
    "nothing but white": uniform(255, slice(None)),
    "the light goes off": dim(slice(15, None)),
    "a few frames of noise": noise(slice(30, 33)),
}


def write(path, frames, pix_fmt="yuv420p"):
    ffmpeg(*SOURCE, "-pix_fmt", pix_fmt, "-c:v", "ffv1", path, data=frames.tobytes())
    return path


@pytest.mark.parametrize("profile", ["ibl", "ibl_bpod"])
@pytest.mark.parametrize("name", STRETCHES)
def test_an_easy_stretch_makes_no_other_frame_look_bad(tmp_path, name, profile):
    path, quick = (
        write(tmp_path / "raw.avi", STRETCHES[name]),
        dataclasses.replace(PROFILES[profile], preset="veryfast"),
    )
    encoded = encode_chunk(path, index_video(path), WHOLE, quick)
    assert encoded.fidelity.complaint(0, quick.psnr_floor_db) == ""


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("damage") / "raw.avi", STRETCHES["white to the end"])
    return path, index_video(path)


def compress_with(raw, monkeypatch, change):
    """Compress a chunk whose packets are changed as they leave the encoder; return them as well."""
    keep, made = x264.Encoder.add, []

    def changed(packets):
        for packet in packets:
            made.append(packet)
            other = change(packet.pts, bytes(packet))
            if other is None:
                yield packet
                continue
            copy = av.Packet(other)
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            for side in packet.iter_sidedata():
                copy.set_sidedata(side)
            yield copy

    flush = x264.Encoder.flush
    monkeypatch.setattr(x264.Encoder, "add", lambda self, *frame: list(changed(keep(self, *frame))))
    monkeypatch.setattr(x264.Encoder, "flush", lambda self: list(changed(flush(self))))
    return encode_chunk(*raw, WHOLE, PROFILES["ibl"])


def complaint_of(raw, monkeypatch, change):
    """Return what is found to be wrong with a chunk whose packets are changed, and how its frames compare if at all."""
    try:
        fidelity = compress_with(raw, monkeypatch, change).fidelity
    except CorruptOutput as error:
        return error.what, None
    return fidelity.complaint(0, PROFILES["ibl"].psnr_floor_db), fidelity.psnr_db


@pytest.mark.parametrize("frame", [0, 7, 12, 19])
def test_a_frame_damaged_on_its_way_is_found(raw, monkeypatch, frame):
    """Bytes in the middle of its packet are others: it does not decode, or shows something else."""

    def change(number, content):
        if number != frame:
            return None
        middle = len(content) * 2 // 3
        return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 3]) + content[middle + 3 :]

    complaint, _ = complaint_of(raw, monkeypatch, change)
    assert complaint


def test_bits_that_flip_in_packets_are_found_or_change_next_to_nothing(raw, monkeypatch):
    """H.264 has no checksum, so that a decoder lets one in four pass; and most of this chunk is white."""
    rng = np.random.default_rng(5)
    honest = encode_chunk(*raw, WHOLE, PROFILES["ibl"]).fidelity.psnr_db
    n_found = 0
    for frame in rng.integers(0, 20, 8).tolist():
        place = rng.random()

        def change(number, content, frame=frame, place=place):
            at = int(12 + place * (len(content) - 12))
            return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] if number == frame else None

        with monkeypatch.context() as patch:
            complaint, psnr_db = complaint_of(raw, patch, change)
        if complaint:
            n_found += 1
        else:
            assert np.abs(psnr_db - honest).max() < 1.5
    assert n_found >= 4


@pytest.mark.parametrize("is_b", [False, True])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda plane: np.full_like(plane, 128),
        lambda plane: np.roll(plane, 5, axis=0),
        lambda plane: np.concatenate([plane[: HEIGHT // 2], plane[: HEIGHT // 2]]),
        lambda plane: (plane * 0.93).astype(np.uint8),
        lambda plane: np.concatenate([plane[:-8], plane[:8]]),
    ],
    ids=["grey", "shifted", "half of it twice", "darker", "its last rows"],
)
def test_a_frame_that_lost_something_else_than_its_encoder_says_is_found(wrong, is_b):
    source = scene()[7]
    result = np.clip(source + np.random.default_rng(2).normal(0, 2, source.shape), 0, 255).astype(np.uint8)
    claim = Claim(error_energy(result, source), is_b)
    assert claim.accounts_for(error_energy(result, source), source.size)
    assert not claim.accounts_for(error_energy(wrong(result), source), source.size)
    assert not Claim(float("nan"), is_b).accounts_for(0, source.size)
