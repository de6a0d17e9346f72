"""Keypoints in the formats of other programs, and folders of frames to label."""
