"""Program that reads exports with movement, in its own environment, and prints as JSON whether they are right."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
import sleap_io  # noqa: E402
import xarray as xr  # noqa: E402
from movement.filtering import filter_by_confidence  # noqa: E402
from movement.io import load_poses  # noqa: E402
from movement.kinematics import compute_velocity  # noqa: E402

folder, expected = Path(sys.argv[1]), Path(sys.argv[2])
values, times = np.load(expected / "values.npy"), np.load(expected / "times.npy")


def is_right(dataset, names=None, tolerance=0.0):
    """Compare positions and confidences; the order of keypoints may be another one."""
    dims = [next(dim for dim in dataset.dims if dim.startswith(start)) for start in ("keypoint", "individual")]
    order = np.arange(values.shape[1]) if names is None else [list(dataset[dims[0]].values).index(n) for n in names]
    position = dataset.position.transpose("time", dims[0], "space", dims[1]).values[..., 0][:, order]
    confidence = dataset.confidence.transpose("time", dims[0], dims[1]).values[..., 0][:, order]
    found = np.concatenate([position, confidence[..., None]], axis=-1)
    return bool(np.allclose(found, values, rtol=tolerance, atol=0, equal_nan=True))


ours = xr.load_dataset(folder / "leftCamera-dlc.nc", engine="scipy")
names = list(ours.keypoint.values)
velocity = compute_velocity(filter_by_confidence(ours.position, ours.confidence, threshold=0.9))
stem = folder / "_iblrig_leftCamera.rawDLC_ibl_dask"
nwb = load_poses.from_nwb_file(
    folder / "SW_001_2023-05-01_001_pose.nwb", pose_estimation_key="PoseEstimationLeftCameraDeepLabCut"
)
sleap = load_poses.from_sleap_file(f"{stem}.analysis.h5", fps=60)
labels = sleap_io.load_file(f"{stem}.analysis.h5")
frames = {frame.frame_idx: frame.instances[0].numpy(scores=True) for frame in labels.labeled_frames}
nodes = [labels.skeletons[0].node_names.index(name) for name in names]
empty = np.full((len(names), 3), np.nan)
read = np.stack([frames.get(number, empty) for number in range(len(values))])[:, nodes]
seen = np.isfinite(values[..., :2]).all(axis=-1)
found = {
    "sleap": is_right(sleap, names, 1e-6),  # movement holds them as float32
    "sleap-io": np.array_equal(read[seen], values[seen]) and np.isnan(read[~seen][:, :2]).all(),
    "netcdf": is_right(ours) and np.array_equal(ours.time, times) and velocity.shape == ours.position.shape,
    "h5": is_right(load_poses.from_dlc_file(f"{stem}.h5"), names),
    "csv": is_right(load_poses.from_lp_file(f"{stem}.csv"), names, 1e-14),  # pandas 2 reads the last bits wrong
    "nwb": is_right(nwb, names),
}
print(json.dumps({name: bool(right) for name, right in found.items()}))
