"""What the reference answers about keypoints; part of `reference_side.py`."""

import tempfile
from pathlib import Path

import numpy as np

CALLS = {}


def call(function):
    CALLS[function.__name__] = function
    return function


def frame_of(names, values, further=None):
    """Return keypoints as the reference holds them. names: comma-separated."""
    import pandas as pd

    columns = {}
    for i, name in enumerate(names.split(",")):
        columns |= {f"{name}_{part}": values[:, i, j].copy() for j, part in enumerate(("x", "y", "likelihood"))}
    return pd.DataFrame(columns)


@call
def likely_points(names, values):
    from brainbox.behavior.dlc import likelihood_threshold

    return {"values": likelihood_threshold(frame_of(names, values)).to_numpy()}


@call
def pupil_diameter(names, values):
    from brainbox.behavior.dlc import get_pupil_diameter, likelihood_threshold

    return {"raw": np.asarray(get_pupil_diameter(likelihood_threshold(frame_of(names, values))))}


@call
def smooth_pupil_diameter(raw, camera):
    from brainbox.behavior.dlc import get_smooth_pupil_diameter

    return {"smooth": np.asarray(get_smooth_pupil_diameter(raw, camera))}


@call
def events(names, values, times):
    from brainbox.behavior.dlc import get_licks, get_sniffs, likelihood_threshold

    frame = likelihood_threshold(frame_of(names, values))
    return {"licks": np.asarray(get_licks(frame, times)), "sniffs": np.asarray(get_sniffs(frame, times))}


@call
def keypoint_speed(names, values, times, camera, keypoint):
    from brainbox.behavior.dlc import get_speed, likelihood_threshold

    return {"speed": np.asarray(get_speed(likelihood_threshold(frame_of(names, values)), times, camera, keypoint))}


@call
def read_table(path):
    """Columns of a table, as ONE and pandas read it."""
    import one.alf.io as alfio

    table = alfio.load_file_content(Path(path))
    return {
        "names": list(table.columns),
        "values": table.to_numpy(),
        "rows": len(table),
        "kinds": [str(k) for k in table.dtypes],
    }


@call
def write_table(path, names, values):
    """Write a table as the reference's tasks do."""
    frame_of(names, values).to_parquet(Path(path))
    return {}


@call
def post_task(tracker, tables, times):
    """Files that the task after pose estimation leaves. tables: camera -> table; times: camera -> file."""
    import shutil

    import pandas as pd
    from ibllib.pipes.video_tasks import EphysPostDLC, PostLP

    folder = Path(tempfile.mkdtemp()) / "subject" / "2024-01-01" / "001"
    alf = folder / "alf"
    alf.mkdir(parents=True)
    for camera, table in tables.items():
        shutil.copy(table, alf / f"_ibl_{camera}Camera.{tracker}.pqt")
        if camera in times:
            shutil.copy(times[camera], alf / f"_ibl_{camera}Camera.times.npy")
    kind = {"dlc": EphysPostDLC, "lightningPose": PostLP}[tracker]
    given = {"collection": "raw_behavior_data"} if tracker == "lightningPose" else {}
    task = kind(folder, cameras=list(tables), one=None, location="local", **given)
    task.get_signatures()
    task.status = 0
    task._run(overwrite=True, run_qc=False, plot_qc=False)
    out = {"status": task.status}
    for camera in tables:
        path = alf / f"_ibl_{camera}Camera.features.pqt"
        if path.exists():
            out[f"{camera}_features"] = pd.read_parquet(path).to_numpy()
            out[f"{camera}_columns"] = list(pd.read_parquet(path).columns)
    if (alf / "licks.times.npy").exists():
        out["licks"] = np.load(alf / "licks.times.npy")
    return out


@call
def pose_qc(tracker, side, names, values, times=None, stim_on=None, raw=None, smooth=None, defaults=True):
    """Outcome and metrics of DlcQC or LpQC."""
    from brainbox.behavior.dlc import likelihood_threshold
    from ibllib.qc.dlc import DlcQC, LpQC
    from iblutil.util import Bunch

    qc = object.__new__({"dlc": DlcQC, "lightningPose": LpQC}[tracker])
    frame = likelihood_threshold(frame_of(names, values))
    qc.side, qc.tracker, qc.eid = side, tracker, "eid"
    qc.ignore_checks = ["check_pupil_diameter_snr"] if tracker == "dlc" else []
    qc.data = Bunch(
        camera_times=times,
        stimOn_times=stim_on,
        pose_coords={n: np.array((frame[f"{n}_x"], frame[f"{n}_y"])) for n in sorted(names.split(","))},
    )
    if raw is not None:
        qc.data["pupilDiameter_raw"], qc.data["pupilDiameter_smooth"] = raw, smooth
    outcome, metrics = qc.run(update=False)
    metrics = {k: list(v) if isinstance(v, tuple) else v for k, v in metrics.items()}
    return {"outcome": str(getattr(outcome, "name", outcome)), "metrics": metrics}


@call
def lick_curves(licks, stim_on, feedback, feedback_type):
    """Lines of the panel of licks: correct, then incorrect trials."""
    import matplotlib.pyplot as plt
    import pandas as pd
    from brainbox.behavior.dlc import plot_lick_hist

    trials = pd.DataFrame({"stimOn_times": stim_on, "feedback_times": feedback, "feedbackType": feedback_type})
    plt.figure()
    ax = plot_lick_hist(licks, trials)
    correct, incorrect = (np.asarray(line.get_ydata(), float) for line in ax.get_lines()[:2])
    plt.close("all")
    return {"correct": correct, "incorrect": incorrect}


@call
def panel_lines(names, values, times, camera, keypoint, energy, diameter, stim_on, feedback, feedback_type):
    """Lines of the panels of motion energy, speed and pupil, in the order in which they are drawn."""
    import matplotlib.pyplot as plt
    import pandas as pd
    from brainbox.behavior.dlc import plot_motion_energy_hist, plot_pupil_diameter_hist, plot_speed_hist

    trials = pd.DataFrame({"stimOn_times": stim_on, "feedback_times": feedback, "feedbackType": feedback_type})
    out = {}
    for panel, draw in {
        "energy": lambda: plot_motion_energy_hist({camera: {"motion_energy": energy, "times": times}}, trials),
        "speed": lambda: plot_speed_hist(frame_of(names, values), times, trials, keypoint, camera),
        "pupil": lambda: plot_pupil_diameter_hist(diameter, times, trials, camera),
    }.items():
        plt.figure()
        draw()
        for number, line in enumerate(plt.gca().get_lines()):
            out[f"{panel}_{number}_x"], out[f"{panel}_{number}_y"] = (np.asarray(d, float) for d in line.get_data())
        plt.close("all")
    return out
