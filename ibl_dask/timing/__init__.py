"""Pulses in, one time per frame out: the camera's own files, the main clock, and how the two are matched."""
