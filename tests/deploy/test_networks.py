"""Networks of pose estimators in a site profile."""

import pytest

from ibl_dask.deploy.site.schema import read_profile
from ibl_dask.errors import UsageError
from ibl_dask.pose.networks import IBL_NETWORKS, CropRule, View
from ibl_dask.pose.smoothers.rules import IBL_PUPIL, EnsembleSmoothing

ENGINES = """\
engines:
  roi: {kind: synthetic, keypoints: [nose_tip]}
  all: {kind: synthetic, keypoints: [nose_tip, pupil_top_r, tail_start]}
  eye_0: {kind: synthetic}
  eye_1: {kind: synthetic}
"""


def read(tmp_path, networks):
    path = tmp_path / "site.yaml"
    path.write_text(ENGINES + networks)
    return read_profile(path)


def test_one_network_on_the_whole_frame_takes_two_lines(tmp_path):
    profile = read(tmp_path, "networks:\n  lightning_pose: {device: cpu, parts: {whole: roi}}\n")
    declared = profile.networks["lightning_pose"]
    (network,) = declared.networks
    assert (network.name, network.engines, network.crop, network.cameras) == ("whole", ("roi",), None, ())
    assert (declared.device, declared.median_frames, dict(declared.views)) == ("cpu", 0, {})
    assert profile.task_options["networks"] == profile.networks


def test_the_preset_fills_in_what_ibls_networks_need(tmp_path):
    text = """\
networks:
  dlc:
    preset: ibl
    parts:
      whiskers: eye_0
      eye: [eye_0, eye_1]
      roi_detect: all
      nose_tip: roi
      tail_start: {engine: all, gain: 2}
"""
    declared = read(tmp_path, text).networks["dlc"]
    assert [network.name for network in declared.networks] == ["nose_tip", "eye", "tail_start", "whiskers"]
    nose, eye, tail, whiskers = declared.networks
    assert (eye.engines, eye.gain, eye.locate) == (("eye_0", "eye_1"), 4.0, "all")
    assert nose.crop == IBL_NETWORKS["nose_tip"].crop
    assert (tail.cameras, tail.locate, tail.gain) == (("body",), "", 2.0)
    assert whiskers.crop is None
    assert (declared.device, declared.median_frames) == ("cuda", 5)
    assert declared.view("right") == View(flip=True, scale=2.0, enlarge=True)
    assert [n.name for n in declared.of_camera("body")] == ["tail_start", "whiskers"]


def test_a_lab_declares_windows_of_its_own(tmp_path):
    text = """\
networks:
  dlc:
    device: cpu
    median_frames: 0
    views: {right: {flip: true}}
    parts:
      eye: {engine: eye_0, cameras: left, locate: roi, gain: 4, size: [96, 128],
            crop: {anchors: nose_tip, width: 80, height: 60, left: 10, top: -5}}
"""
    (network,) = read(tmp_path, text).networks["dlc"].networks
    assert network.crop == CropRule(("nose_tip",), 80, 60, 10, -5)
    assert (network.cameras, network.locate, network.size) == (("left",), "roi", (96, 128))


def test_ensembles_are_smoothed_once_the_profile_names_a_smoother(tmp_path):
    text = """\
networks:
  lightning_pose:
    preset: ibl
    smoother: /shared/envs/eks/bin/python
    parts:
      eye: [eye_0, eye_1]
      paws: eye_0
      snout: {engine: [eye_0, eye_1], smooth: {kind: keypoints, s: 3}}
      tail_start: {engine: [eye_0, eye_1], smooth: {kind: keypoints, s: 2, inflation: 9}}
      roi_detect: all
"""
    declared = read(tmp_path, text).networks["lightning_pose"]
    smoothed = {network.name: declared.smoothing_of(network) for network in declared.networks}
    assert smoothed == {
        "eye": IBL_PUPIL,
        "paws": None,
        "tail_start": EnsembleSmoothing("keypoints", s=2.0, inflation=9.0),
        "snout": EnsembleSmoothing("keypoints", s=3.0),
    }
    without = read(tmp_path, text.replace("    smoother: /shared/envs/eks/bin/python\n", "").split("      snout")[0])
    declared = without.networks["lightning_pose"]
    assert [declared.smoothing_of(network) for network in declared.networks] == [None, None]


@pytest.mark.parametrize(
    ("networks", "line", "words"),
    [
        ("networks:\n  dlc: {parts: {whole: roy}}\n", 7, "roi"),
        ("networks:\n  dlc: {parts: {}}\n", 7, "parts"),
        ("networks:\n  sleap: {parts: {whole: roi}}\n", 7, "dlc"),
        ("networks:\n  dlc:\n    device: gpu\n    parts: {whole: roi}\n", 8, "cuda or cpu"),
        ("networks:\n  dlc:\n    device: cpu\n    decode: cuda\n    parts: {whole: roi}\n", 9, "remove `device: cpu`"),
        ("networks:\n  dlc:\n    median_frames: 4\n    parts: {whole: roi}\n", 8, "median_frames: 5"),
        ("networks:\n  dlc:\n    presets: ibl\n    parts: {whole: roi}\n", 8, "preset"),
        ("networks:\n  dlc:\n    parts:\n      eye: {engine: roi, gains: 4}\n", 9, "gain"),
        ("networks:\n  dlc:\n    parts:\n      eye: {engine: roi, locate: rio}\n", 9, "roi"),
        ("networks:\n  dlc:\n    parts:\n      eye: {engine: roi, cameras: lft}\n", 9, "write left"),
        ("networks:\n  dlc:\n    preset: ibl\n    parts:\n      eye: roi\n", 10, "pupil_top_r"),
        ("networks:\n  dlc:\n    parts:\n      eye: {engine: roi, smooth: {kind: pupil}}\n", 9, "two engines or more"),
        (
            "networks:\n  dlc:\n    parts:\n      eye: {engine: [eye_0, eye_1], smooth: {kind: pupil}}\n",
            9,
            "smoother: /shared/envs/eks/bin/python",
        ),
        (
            "networks:\n  dlc:\n    parts:\n      eye: {engine: [eye_0, eye_1], smooth: {kind: mean}}\n",
            9,
            "smooth.kind",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path, networks, line, words):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, networks)
    assert caught.value.where.endswith(f"line {line}"), caught.value
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "parts", ["{all: ibl, nose: roi}", "{all: {engine: ibl, gain: 2}}", "{all: [ibl, roi]}"], ids=["2", "gain", "many"]
)
def test_a_program_for_whole_videos_stands_alone(tmp_path, parts):
    path = tmp_path / "site.yaml"
    whole = f"  ibl: {{kind: iblvideo, python: /envs/dlc/bin/python, weights: /w, sha256: {'a' * 64}}}\n"
    path.write_text(ENGINES + whole + "networks:\n  dlc: {parts: {all: ibl}}\n")
    assert read_profile(path).networks["dlc"].networks[0].engines == ("ibl",)
    path.write_text(ENGINES + whole + f"networks:\n  dlc: {{parts: {parts}}}\n")
    with pytest.raises(UsageError, match="takes whole videos"):
        read_profile(path)
