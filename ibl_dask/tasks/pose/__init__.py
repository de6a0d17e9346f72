"""Pose of the animal in the videos of a session."""
