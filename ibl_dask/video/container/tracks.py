"""Opening of video files, and selection of the camera's video among several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ibl_dask.errors import UnreadableVideo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from av.codec.hwaccel import HWAccel
    from av.container import InputContainer
    from av.video.stream import VideoStream

COPY_AGAIN = "copy the file again from the acquisition computer and compare its size with the original"


class NoGpuDecoder(Exception):  # not an error: the CPU decodes
    """NVDEC does not decode a video here, or not all of it."""


def nvdec() -> HWAccel:
    """Return NVIDIA's decoder, on the first GPU that this process sees."""
    from av.codec.hwaccel import HWAccel

    # All decoders of a process share its context on the GPU: one of their own takes hundreds of MB each.
    return HWAccel("cuda", allow_software_fallback=False, options={"primary_ctx": "1"})


def open_video(path: Path, *, on_gpu: bool = False) -> tuple[InputContainer, VideoStream]:
    """Open a container and the camera's video in it.

    The decoder uses one thread, and reports damage instead of concealing it.

    Parameters
    ----------
    path : Path
        The video.
    on_gpu : bool
        Decode by NVDEC, which conceals damage.

    Raises
    ------
    UnreadableVideo
        If FFmpeg cannot open the file, or it holds no video, or several of which none is the largest.
    NoGpuDecoder
        If NVDEC is asked for and does not take it.
    """
    import av

    try:
        # Packets of an AVI are identified by their position in the file, which parsers would lose; see `avi`.
        options = {"fflags": "+noparse+nofillin"} if is_avi(path) else {}
        accelerator = nvdec() if on_gpu else None
        container = av.open(str(path), options=options, metadata_errors="replace", hwaccel=accelerator)
    except (av.error.FFmpegError, OSError) as error:
        if on_gpu:
            raise _no_gpu_decoder(error) from error
        if isinstance(error, PermissionError):
            got, do = "permission denied", "ask for read permission on the file"
        else:
            got = f"{path.stat().st_size:,} bytes that FFmpeg refuses ({error})"
            do = COPY_AGAIN + "; an MP4 without its moov box was cut short and cannot be played"
        raise UnreadableVideo(
            "this file cannot be opened as a video", where=str(path), expected="MP4 or AVI", got=got, do=do
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        if not on_gpu:
            raise
        raise _no_gpu_decoder(error) from error
    try:
        stream = _camera_stream(path, container)
    except UnreadableVideo:
        container.close()
        raise
    context = stream.codec_context
    context.thread_count = 1
    context.thread_type = "NONE"
    context.options = {**context.options, "err_detect": "explode"}
    return container, stream


def _no_gpu_decoder(error: Exception) -> NoGpuDecoder:
    return NoGpuDecoder(f"{type(error).__name__}: {error}")


def is_avi(path: Path) -> bool:
    """Return whether a file begins as an AVI does."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"RIFF" and head[8:] in (b"AVI ", b"AVIX")


def several_videos_note(container: InputContainer, stream: VideoStream) -> list[str]:
    """Return a note about the other videos of a file; empty if it holds one video."""
    others = [other for other in container.streams.video if other.index != stream.index]
    if not others:
        return []
    unused = ", ".join(_format_stream(other) for other in others)
    return [
        f"the file holds {len(others) + 1} videos; the largest, {_format_stream(stream)}, is the camera's, and not "
        f"{unused}"
    ]


def largest(sizes: Sequence[tuple[int, int]]) -> int | None:
    """Return the index of the camera's picture size among the videos of one file; None if two are the largest.

    Previews and thumbnails are smaller than the video, whatever their order in the file and the default stream.

    >>> largest([(160, 128), (1280, 1024)]), largest([(640, 512), (640, 512)])
    (1, None)
    """
    areas = [width * height for width, height in sizes]
    return areas.index(max(areas)) if areas.count(max(areas)) == 1 else None


def _camera_stream(path: Path, container: InputContainer) -> VideoStream:
    from av.stream import Disposition

    streams = list(container.streams.video)
    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in streams if not stream.disposition & pictures] or streams
    if not streams:
        raise UnreadableVideo(
            "this file holds no video stream",
            where=str(path),
            expected="one video stream",
            got="none",
            do=COPY_AGAIN,
        )
    contexts: list[object] = [
        stream.codec_context for stream in streams
    ]  # None for an unknown codec, despite the stubs
    if None in contexts:
        raise UnreadableVideo(
            "this video's codec is not known",
            where=str(path),
            expected="a codec that FFmpeg decodes",
            got="a tag that it does not know",
            do=COPY_AGAIN,
        )
    chosen = largest([(stream.width, stream.height) for stream in streams])
    if chosen is None:
        first = streams[0].index
        raise UnreadableVideo(
            "this file holds several videos of one size, so none is taken to be the camera's",
            where=str(path),
            expected="one video, or one that is larger than the others",
            got="; ".join(_format_stream(stream) for stream in streams),
            do=f"copy the camera's into a file of its own, for instance ffmpeg -i in -map 0:{first} -c copy out, and "
            "use that file",
        )
    return streams[chosen]


def _format_stream(stream: VideoStream) -> str:
    return f"stream {stream.index} of {stream.width} x {stream.height}"
