"""Alignment: one time per frame, from pulses and the records of a camera."""
