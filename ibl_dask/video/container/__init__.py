"""Containers and bitstreams of videos: packets, their times and positions, keyframes, frame index."""
