"""Text files as computers of all kinds write them."""

import codecs

import pytest

from ibl_dask.model.session import Session
from ibl_dask.model.text import decode, plain
from ibl_dask.pipeline.devices.ephys import read_probe
from ibl_dask.store.pipeline_tasks_yaml import read_specs
from ibl_dask.timing.camera.camlog import read_camlog
from ibl_dask.timing.camera.timestamps_ssv import read_registers
from ibl_dask.timing.clocks.bpod import read_bpod
from ibl_dask.timing.clocks.nidq import channel_map

WAYS = {
    "a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "CR LF": lambda text: text.replace("\n", "\r\n").encode(),
    "a mark and CR LF": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
    "UTF-16": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: codecs.BOM_UTF16_BE + text.replace("\n", "\r\n").encode("utf-16-be"),
}


@pytest.fixture(params=WAYS)
def written(request, tmp_path):
    """Return a function that writes a text in one of these ways."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(WAYS[request.param](text))
        return path

    return write


@pytest.mark.parametrize("way", WAYS)
def test_the_text_is_the_same_whatever_wrote_it(way):
    text = "a: é\nb: 1\n"
    assert decode(WAYS[way](text)) == text
    assert plain(WAYS[way](text)) == text.encode()


def test_bytes_that_are_no_text_stay_as_they_are():
    assert plain(b"\xff\xfe\x00") == b"\xff\xfe\x00"
    assert plain(b"\x00\x01\r") == b"\x00\x01\r"


def test_a_description_is_read(written):
    path = written("SW_001/2023-05-01/001/_ibl_experiment.description.yaml", "projects: [é]\ndevices: {}\n")
    assert Session(path.parent).description.projects == ("é",)


def test_the_settings_of_an_old_session_are_read(written):
    path = written(
        "SW_001/2019-05-01/001/raw_behavior_data/_iblrig_taskSettings.raw.json",
        '{"PYBPOD_PROTOCOL": "_iblrig_tasks_ephysChoiceWorld6.4.2"}\n',
    )
    assert len(Session(path.parents[1]).description.cameras) == 3


def test_a_wiring_is_read(written):
    path = written("x.wiring.json", '{"SYNC_WIRING_DIGITAL": {"P0.5": "left_camera"}}\n')
    assert channel_map(path)["left_camera"] == 5


def test_the_timestamps_of_a_camera_are_read(written):
    line = "2020-08-19T12:42:57.7903616-04:00 2330554981 \n"
    wall, clock = read_registers(written("x.ssv", 3 * line))
    assert clock.tolist() == [2330554981] * 3
    assert wall.size == 3


def test_the_trials_of_a_bpod_are_read(written):
    trial = (
        '{"behavior_data": {"Bpod start timestamp": 0, "Trial start timestamp": %d, '
        '"Events timestamps": {"Port1In": [0.1, 0.2], "Port1Out": [0.15, 0.25]}}}\n'
    )
    found = read_bpod(written("x.jsonable", trial % 1 + trial % 2))
    assert found.camera.rises_s.tolist() == pytest.approx([1.1, 1.2, 2.1, 2.2])
    assert found.notes == ()


def test_the_header_of_a_probe_is_read(written):
    assert (
        read_probe("probe00", written("x.ap.meta", "imDatPrb_type=24\n~snsShankMap=(4,2,640)(0:0:0:1)\n")).kind
        == "NP2.4"
    )


def test_a_file_of_tasks_is_read(written):
    path = written("pipeline_tasks.yaml", "- name: A\n  executable: lab.A\n")
    assert [spec.name for spec in read_specs(path.parent)] == ["A"]


def test_the_log_of_labcams_is_read(written):
    rows = "".join(f"{n},{n / 30:.4f}\n" for n in range(1, 5))
    log = read_camlog(written("x.camlog", f"# Camera log\n# frame_id,timestamp\n{rows}"))
    assert len(log.frame_ids) == 4
    assert log.damaged == ()
