"""The sync triplet and the names of its channels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ibl_dask.errors import MissingFile, UnequalLengths, UnusableFile, UsageError
from ibl_dask.timing.clocks.nidq import Fronts, channel_map, read_sync


def triplet(folder: Path, times: list[float], channels: list[float], polarities: list[float]) -> list[Path]:
    paths = []
    for name, values in (("times", times), ("channels", channels), ("polarities", polarities)):
        paths.append(folder / f"_spikeglx_sync.{name}.npy")
        np.save(paths[-1], np.array(values, dtype=np.float64))
    return paths


def test_fronts_of_one_channel_come_out_in_order(tmp_path: Path) -> None:
    sync = read_sync(*triplet(tmp_path, [1, 2, 2, 3], [2, 7, 2, 2], [1, 1, -1, 1]))
    fronts = sync.fronts(2)
    assert fronts.times_s.tolist() == [1, 2, 3]
    assert fronts.polarities.tolist() == [1, -1, 1]
    assert fronts.rises_s.tolist() == [1, 3]
    assert fronts.falls_s.tolist() == [2]
    assert sync.counts() == {2: 3, 7: 1}
    assert len(sync.fronts(5)) == 0


def test_channels_out_of_order_with_each_other_are_sorted(tmp_path: Path) -> None:
    sync = read_sync(*triplet(tmp_path, [1, 3, 2, 4], [0, 0, 16, 16], [1, -1, 1, -1]))
    assert sync.times_s.tolist() == [1, 2, 3, 4]
    assert sync.channels.tolist() == [0, 16, 0, 16]


@pytest.mark.parametrize(
    ("times", "channels", "polarities", "message"),
    [
        ([1, 3, 2], [0, 0, 0], [1, -1, 1], "runs backwards in time at entry 2"),
        ([1, np.nan, 2], [0, 0, 0], [1, -1, 1], "a time is not a number at entry 1"),
        ([1, 2, 3], [0, 0.5, 0], [1, -1, 1], "no channel at entry 1"),
        ([1, 2, 3], [0, 0, 0], [1, 0, 1], "no polarity at entry 1"),
    ],
)
def test_damaged_triplet_is_refused(
    tmp_path: Path, times: list[float], channels: list[float], polarities: list[float], message: str
) -> None:
    with pytest.raises(UnusableFile, match=message):
        read_sync(*triplet(tmp_path, times, channels, polarities))


def test_unequal_triplet_is_refused_with_each_length(tmp_path: Path) -> None:
    with pytest.raises(UnequalLengths, match=r"times\.npy 3, .*channels\.npy 2, .*polarities\.npy 3"):
        read_sync(*triplet(tmp_path, [1, 2, 3], [0, 0], [1, -1, 1]))


def test_absent_or_foreign_sync_file_is_named(tmp_path: Path) -> None:
    paths = triplet(tmp_path, [1], [0], [1])
    with pytest.raises(MissingFile, match=r"none\.npy"):
        read_sync(tmp_path / "none.npy", *paths[1:])
    paths[1].write_bytes(b"hello")
    with pytest.raises(UnusableFile, match="channels"):
        read_sync(*paths)


def test_fronts_refuse_unequal_arrays() -> None:
    with pytest.raises(ValueError, match="as many times as polarities"):
        Fronts(np.zeros(3), np.zeros(2, np.int8))


@pytest.mark.parametrize(
    ("kind", "label", "channel"),
    [
        ("nidq", "body_camera", 2),
        ("nidq", "audio", 7),
        ("3A", "audio", 15),
        ("sync", "frame_trigger", 3),
        ("timeline", "belly_camera", 2),
        ("timeline", "audio", 4),
    ],
)
def test_usual_wiring(kind: str, label: str, channel: int) -> None:
    assert channel_map(None, kind)[label] == channel


def test_wiring_file_overrides_and_usual_labels_fill_free_channels(tmp_path: Path) -> None:
    path = tmp_path / "x.wiring.json"
    path.write_text(
        json.dumps(
            {
                "SYSTEM": "3B",
                "SYNC_WIRING_DIGITAL": {"P0.0": "left_camera", "P0.1": "photometry", "P0.5": "audio", "P0.6": None},
                "SYNC_WIRING_ANALOG": {"AI2": "bpod"},
            }
        )
    )
    channels = channel_map(path)
    assert channels["left_camera"] == 0
    assert channels["audio"] == 5
    assert channels["bpod"] == 18
    assert channels["body_camera"] == 2
    # Channel 1 carries something else here, so its pulses must not pass for a right camera's.
    assert "right_camera" not in channels
    assert len(set(channels.values())) == len(channels)


def test_pins_of_the_3a_connector_skip_those_without_data(tmp_path: Path) -> None:
    path = tmp_path / "x.wiring.json"
    path.write_text(json.dumps({"SYSTEM": "3A", "SYNC_WIRING_DIGITAL": {"pin04": "left_camera", "pin19": "audio"}}))
    channels = channel_map(path, "3A")
    assert channels["left_camera"] == 3
    assert channels["audio"] == 15


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"SYNC_WIRING_DIGITAL": [1]}', '{"SYNC_WIRING_DIGITAL": {"X": "audio"}}']
)
def test_unusable_wiring_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.wiring.json"
    path.write_text(content)
    with pytest.raises(UnusableFile):
        channel_map(path)


def test_absent_wiring_and_unknown_kind_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="wiring"):
        channel_map(tmp_path / "wiring.json")
    with pytest.raises(UsageError, match="mesoscope"):
        channel_map(None, "sundial")
