"""The wheel: its traces, and the video beside it."""
