"""Curves of the figure of keypoints beside those of brainbox, where nothing is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pose_data import SIDE
from pose_sessions import pose_content

from ibl_dask.report.pose_content import PoseContent
from ibl_dask.report.pose_figure import pose_figure

if TYPE_CHECKING:
    from reference import Reference

pytestmark = pytest.mark.peer


@pytest.mark.parametrize(("label", "keypoint"), [("left", "paw_r"), ("right", "paw_l")])
def test_curves_of_energy_speed_and_pupil_are_those_of_the_reference(
    reference: Reference, label: str, keypoint: str
) -> None:
    content = pose_content()
    camera, trials = content.camera(label), content.trials
    figure = pose_figure(PoseContent(content.session, "dlc", (camera,), trials))
    panels = dict(zip("ABCDEFGHIJ", figure.axes, strict=True))
    theirs = reference.ask(
        "panel_lines",
        names=",".join(SIDE),
        values=camera.keypoints.values,
        times=camera.times_s,
        camera=label,
        keypoint=keypoint,
        energy=camera.motion_energy,
        diameter=camera.pupil_smooth_px,
        stim_on=trials.stim_on_s,
        feedback=trials.feedback_s,
        feedback_type=trials.feedback_type,
    )
    for letter, name, n_lines in (("D", "energy", 1), ("F", "speed", 2), ("J", "pupil", 2)):
        for number in range(n_lines):
            offsets, values = (np.asarray(part, float) for part in panels[letter].lines[number].get_data())
            expected = theirs[f"{name}_{number}_y"]
            # The reference cuts the samples of 2 s to a whole number: 299 at 149.9999 Hz, which changes z-scores.
            n = len(expected)
            assert n in {len(values), len(values) - 1}
            atol = 0.01 if name == "pupil" and n < len(values) else 1e-6
            np.testing.assert_allclose(values[:n], expected, atol=atol, err_msg=f"{name} {number}")
            np.testing.assert_allclose(offsets[:n], theirs[f"{name}_{number}_x"][:n], atol=1e-9)
