"""Sessions of any length for benchmarks: a clip is encoded once, and its packets are repeated without encoding."""

from __future__ import annotations

from pathlib import Path

import av

from ibl_dask.synth.session import write_session

CAMERAS = {"left": (1280, 1024, 60), "right": (640, 512, 150)}
CLIP_FRAMES = 1000
TINY = 0.125
GOP = 250
"""Default of x264, unchanged by the reference."""
AS_COMPRESSED = {"preset": "slow", "crf": "17"}
"""Settings of the reference for videos of ephys rigs."""


def make_session(root: Path, label: str, n_frames: int) -> tuple[Path, Path]:
    """Write a session with one camera at full size.

    Returns
    -------
    session, video
        Session folder, and video: 1,000 frames compressed with the reference's settings, repeated.
    """
    width, height, fps = CAMERAS[label]
    clip = write_clip(root / "clips", label)
    session = root / "Subjects" / f"SW_{label}" / "2023-05-01" / f"{n_frames // 1000:03d}"
    # The rig's other files at the requested length; their video of tiny frames is replaced below.
    write_session(session, duration_s=n_frames / fps, cameras=(label,), scale=TINY, burn=False)
    description = session / "_ibl_experiment.description.yaml"
    tiny = description.read_text()
    small_width, small_height = int(width * TINY), int(height * TINY)
    described = tiny.replace(f"width: {small_width}", f"width: {width}")
    described = described.replace(f"height: {small_height}", f"height: {height}")
    if described.count(f"width: {width}") + described.count(f"height: {height}") != 2:
        raise SystemExit(f"the description does not name the frame size as expected:\n{tiny}")
    description.write_text(described)
    video = session / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4"
    repeat(clip, video, n_frames)
    return session, video


def write_clip(root: Path, label: str) -> Path:
    """Draw and encode the clip of a camera."""
    _, _, fps = CAMERAS[label]
    session = root / f"SW_{label}" / "2023-05-01" / "001"
    video = session / "raw_video_data" / f"_iblrig_{label}Camera.raw.mp4"
    if not video.exists():
        write_session(
            session,
            duration_s=CLIP_FRAMES / fps,
            cameras=(label,),
            video_options=AS_COMPRESSED,
            gop=GOP,
            b_frames=3,
        )
    return video


def repeat(clip: Path, target: Path, n_frames: int) -> None:
    """Write a video that repeats a clip, by copying its packets."""
    with av.open(str(clip)) as source, av.open(str(target), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        copy.time_base = stream.time_base
        packets = [packet for packet in source.demux(stream) if packet.size]
        ticks = sorted(int(packet.pts or 0) for packet in packets)
        step = ticks[1] - ticks[0]
        content = [
            (bytes(packet), int(packet.pts or 0), int(packet.dts or 0), packet.is_keyframe) for packet in packets
        ]
        if n_frames % len(content):
            raise SystemExit(f"the number of frames must be a multiple of {len(content):,}")
        for turn in range(n_frames // len(content)):
            shift = turn * len(content) * step
            for data, pts, dts, is_key in content:
                packet = av.Packet(data)
                packet.stream = copy
                packet.time_base = stream.time_base
                packet.pts, packet.dts, packet.is_keyframe = pts + shift, dts + shift, is_key
                out.mux(packet)
