"""Wheel: its traces, its motion, and the offset between video and wheel."""
