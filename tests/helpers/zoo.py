"""Videos as rigs, compressors and others write them, made by FFmpeg's own program, and ways to read them."""

import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import av
import cv2
import imageio_ffmpeg
import numpy as np

from ibl_dask.synth.burn import burn_frame_number
from ibl_dask.video.pixels import luma
from ibl_dask.video.reader import DamageMet, FrameReader

WIDTH, HEIGHT, N_FRAMES = 160, 128, 72


@dataclass(frozen=True, slots=True)
class Animal:
    """How to make one video of the zoo."""

    suffix: str
    options: tuple[str, ...]
    pix_fmt: str = "yuv420p"
    change: Callable[[bytes], bytes] | None = None


def _h264(parameters="", *more):
    rest = ("-x264-params", parameters) if parameters else ()
    return ("-c:v", "libx264", "-preset", "medium", "-crf", "23", *rest, *more)


def _set_header_count(content, count, *, clear_sizes=False):
    """Write another number of frames into an AVI's two headers."""
    changed = bytearray(content)
    for kind, place in ((b"avih", 16), (b"strh", 32)):
        at = content.index(kind) + 8 + place
        changed[at : at + 4] = count.to_bytes(4, "little")
    if clear_sizes:
        changed[4:8] = bytes(4)
        at = content.index(b"movi")
        changed[at - 4 : at] = bytes(4)
    return bytes(changed)


def _without_idx1(content):
    return content[: content.rindex(b"idx1")]


def _every_packet_a_key(content):
    changed = bytearray(content)
    at = content.rindex(b"idx1")
    for entry in range(at + 8, at + 8 + int.from_bytes(content[at + 4 : at + 8], "little"), 16):
        changed[entry + 4 : entry + 8] = (16).to_bytes(4, "little")
    return bytes(changed)


def _nonsense_durations(content):
    changed = bytearray(content)
    for kind, place in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 20)):
        at = content.index(kind) + 4 + place
        changed[at : at + 4] = b"\x00\x00\x00\x01"
    return bytes(changed)


_CLOSED_B = _h264("keyint=24:min-keyint=24:bframes=3:b-adapt=0:scenecut=0")
_OPEN = _h264("open-gop=1:keyint=20:min-keyint=20:bframes=3:b-adapt=0:scenecut=0")
_REFRESH = _h264("intra-refresh=1:keyint=20:bframes=0")
_NO_B = _h264("keyint=24:bframes=0")
_MPEG4 = ("-c:v", "mpeg4", "-q:v", "5", "-g", "12")
_RIG = (*_MPEG4, "-bf", "0", "-vtag", "FMP4")
_UNEVEN = ("-vf", "setpts=(N+5*floor(N/9)+gte(N\\,40)*20)/60/TB", "-fps_mode", "vfr")

ZOO = {
    "b_frames": Animal(".mp4", _CLOSED_B),
    "b_frames_mkv": Animal(".mkv", _CLOSED_B),
    "b_frames_ts": Animal(".ts", _CLOSED_B),
    "open_gop": Animal(".mp4", _OPEN),
    "open_gop_mkv": Animal(".mkv", _OPEN),
    "open_gop_ts": Animal(".ts", _OPEN),
    "intra_refresh": Animal(".mp4", _REFRESH),
    "intra_refresh_b_mkv": Animal(".mkv", _h264("intra-refresh=1:keyint=20:bframes=2:b-adapt=0")),
    "intra_refresh_avi": Animal(".avi", _REFRESH),
    "one_gop": Animal(".mp4", _h264("keyint=infinite:scenecut=0:bframes=2")),
    "short_gop": Animal(".mp4", _h264("keyint=3:bframes=2:b-adapt=0")),
    "hevc_open_gop": Animal(
        ".mp4", ("-c:v", "libx265", "-x265-params", "open-gop=1:keyint=20:min-keyint=20:bframes=3:log-level=none")
    ),
    "h264_avi": Animal(".avi", _NO_B),
    "mpeg4_avi": Animal(".avi", _RIG),
    "mpeg4_b_avi": Animal(".avi", (*_MPEG4, "-bf", "2", "-vtag", "FMP4")),
    "mpeg4_b_mp4": Animal(".mp4", (*_MPEG4, "-bf", "2")),
    "mpeg4_b_mkv": Animal(".mkv", (*_MPEG4, "-bf", "2")),
    "xvid_avi": Animal(".avi", ("-c:v", "libxvid", "-q:v", "5", "-g", "12", "-bf", "0")),
    "mjpeg_avi": Animal(".avi", ("-c:v", "mjpeg", "-q:v", "3"), "yuvj420p"),
    "422": Animal(".mp4", _CLOSED_B, "yuv422p"),
    "444": Animal(".mp4", _CLOSED_B, "yuv444p"),
    "gray": Animal(".mp4", _CLOSED_B, "gray"),
    "full_range": Animal(".mp4", _CLOSED_B, "yuvj420p"),
    "variable_rate": Animal(".mp4", (*_CLOSED_B, *_UNEVEN)),
    "variable_rate_mkv": Animal(".mkv", (*_CLOSED_B, *_UNEVEN)),
    "late_start_with_a_pause": Animal(".mp4", (*_CLOSED_B, "-output_ts_offset", "100")),
    "late_start_ts": Animal(".ts", (*_CLOSED_B, "-output_ts_offset", "3600")),
    "late_start_mkv": Animal(".mkv", (*_CLOSED_B, "-output_ts_offset", "100")),
    "negative_offsets": Animal(".mp4", (*_CLOSED_B, "-movflags", "negative_cts_offsets")),
    "no_edit_list": Animal(".mp4", (*_CLOSED_B, "-use_editlist", "0")),
    "faststart": Animal(".mp4", (*_CLOSED_B, "-movflags", "+faststart")),
    "fragmented": Animal(".mp4", (*_CLOSED_B, "-movflags", "+frag_keyframe+empty_moov")),
    "name_with_a_uuid": Animal(".0a1b2c3d-0000-4000-8000-00000000beef.mp4", _CLOSED_B),
    "avi_header_says_0": Animal(".avi", _RIG, change=lambda content: _set_header_count(content, 0)),
    "avi_header_says_5": Animal(".avi", _RIG, change=lambda content: _set_header_count(content, 5)),
    "avi_header_says_a_million": Animal(".avi", _RIG, change=lambda content: _set_header_count(content, 1_000_000)),
    "avi_without_index": Animal(".avi", _RIG, change=_without_idx1),
    "avi_whose_recording_died": Animal(
        ".avi", _RIG, change=lambda content: _set_header_count(_without_idx1(content), 0, clear_sizes=True)
    ),
    "avi_that_calls_every_packet_a_key": Animal(".avi", _RIG, change=_every_packet_a_key),
    "mp4_that_calls_every_packet_a_key": Animal(
        ".mp4", _CLOSED_B, change=lambda content: content.replace(b"stss", b"free")
    ),
    "mp4_with_nonsense_durations": Animal(".mp4", _CLOSED_B, change=_nonsense_durations),
}
REAL = ("b_frames", "open_gop_mkv", "intra_refresh", "mpeg4_avi", "mpeg4_b_avi", "mjpeg_avi")
"""Kinds that are also made of a real clip."""
REFUSED = {
    "h264_b_avi": Animal(".avi", _CLOSED_B),
    "mpeg2_b_avi": Animal(".avi", ("-c:v", "mpeg2video", "-q:v", "3", "-g", "12", "-bf", "2")),
    "packed_avi": Animal(".avi", ("-c:v", "libxvid", "-q:v", "5", "-g", "12", "-bf", "2")),
}


def ffmpeg(*arguments, data=None):
    """Run FFmpeg's program and return what it writes to its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


@cache
def drawn_frames():
    """Return smooth moving frames with their numbers, which compress like a real video."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(40, 160, (HEIGHT, WIDTH), np.uint8), (0, 0), 1.5)
    frames = np.empty((N_FRAMES, HEIGHT, WIDTH), np.uint8)
    for number, frame in enumerate(frames):
        frame[:] = np.roll(noise, 3 * number, axis=1)
        frame[60:100, 60:100] = np.roll(noise, -number, axis=0)[60:100, 60:100]
        burn_frame_number(frame, number, digits=False)
    return frames


def clip_frames(path):
    """Return the first frames of a clip, smaller and with their numbers."""
    with FrameReader(path) as reader:
        clip = reader.read(0, N_FRAMES)
    frames = np.stack([cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for image in clip])
    for number, frame in enumerate(frames):
        burn_frame_number(frame, number, digits=False)
    return frames


def make(path, animal, frames):
    """Encode frames with FFmpeg's program."""
    size = f"{WIDTH}x{HEIGHT}"
    source = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", size, "-r", "60", "-i", "-")
    ffmpeg(*source, "-pix_fmt", animal.pix_fmt, "-threads", "1", *animal.options, path, data=frames.tobytes())
    if animal.change is not None:
        path.write_bytes(animal.change(path.read_bytes()))
    return path


def decoded_by_the_program(path):
    """Return the luma of every frame that FFmpeg's program gets out of a file. (frame, y, x)"""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        pix_fmt, width, height = context.pix_fmt, context.width, context.height
    content = ffmpeg(
        "-threads", "1", "-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pix_fmt, "-"
    )
    chroma = {"gray": 0, "yuv420p": 2, "yuvj420p": 2, "yuv422p": 4, "yuv444p": 8}[pix_fmt]
    n_bytes = width * height * (4 + chroma) // 4
    planes = np.frombuffer(content, np.uint8).reshape(-1, n_bytes)
    return planes[:, : width * height].reshape(-1, height, width)


def read_in_chunks(path, index, chunks, *, reopen=False):
    """Return the luma of every frame, None where it does not decode."""
    out = []
    reader = FrameReader(path, index)
    for chunk in chunks:
        if reopen:
            reader.close()
            reader = FrameReader(path, index)
        for number, frame in reader.frames(chunk.start, chunk.stop):
            assert number == len(out)
            out.append(None if frame is None else luma(frame).copy())
    reader.close()
    return out


def same(some, others):
    """Return whether two lists of frames are alike, missing ones included."""
    return len(some) == len(others) and all(
        (a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in zip(some, others, strict=True)
    )


def read_while_sound(path, index, chunks):
    """Return what `read_in_chunks` does, but None for every frame of a chunk in which the reader doubts any."""
    out = []
    for chunk in chunks:
        images = [None] * len(chunk)
        with FrameReader(path, index) as reader, suppress(DamageMet):
            found = {number: luma(frame).copy() for number, frame in reader.frames_while_sound(chunk.start, chunk.stop)}
            assert list(found) == list(range(chunk.start, chunk.stop))
            images = list(found.values())
        out += images
    return out
