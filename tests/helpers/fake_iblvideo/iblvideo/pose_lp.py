"""Pipeline of Lightning Pose."""

from iblvideo._pipeline import estimate


def lightning_pose(mp4_file, ckpts_path=None, force=False, create_labels=False, remove_files=True):
    assert force is True, "a string is always true"
    return estimate(mp4_file, ckpts_path, "lightningPose")
