"""Pose estimation: engines behind one protocol, and the process that hosts them."""
