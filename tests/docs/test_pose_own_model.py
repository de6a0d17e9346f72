"""The guide to a network of one's own: its profile is valid, and its arithmetic right."""

import re
from pathlib import Path

import ibl_dask as ibd

TEXT = (Path(__file__).parents[2] / "docs" / "pose_own_model.md").read_text(encoding="utf-8")
PROSE = " ".join(TEXT.split())
FRAMES = {"left": 60 * 3600, "right": 150 * 3600, "body": 30 * 3600}
DECODED_PER_S = {"left": 242, "right": 1910, "body": 1910}


def gpu_hours(networks_per_s: list[float]) -> float:
    predicting_s = sum(1 / rate for rate in networks_per_s)
    return sum(n * max(1 / DECODED_PER_S[camera], predicting_s) for camera, n in FRAMES.items()) / 3600


def test_the_profile_of_the_guide_is_read(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "my_site.yaml").write_text(block)
    options = ibd.read_profile(str(tmp_path / "my_site.yaml")).task_options
    (network,) = options["networks"]["lightning_pose"].networks
    assert network.engines == ("net",)
    assert options["engines"]["net"].keypoints == ("nose_tip", "paw_l", "paw_r")


def test_gpu_hours_of_the_guide_follow_from_its_formula():
    assert f"{gpu_hours([]):.2f} GPU-hours per session" in PROSE
    assert (
        f"on all cameras it is {gpu_hours([228]):.2f} GPU-hours, with five of them {gpu_hours([228] * 5):.1f}," in PROSE
    )
