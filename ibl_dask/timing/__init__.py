"""Timing: one time per frame on the main clock, from pulses and camera records; and the wheel beside the video."""
