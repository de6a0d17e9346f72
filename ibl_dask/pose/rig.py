"""Rates and frame sizes that the rigs of the field are set to, for which thresholds and windows are."""

from __future__ import annotations

from types import MappingProxyType

NOMINAL_RATE_HZ = MappingProxyType({"left": 60.0, "right": 150.0, "body": 30.0})
"""Rates of the cameras of ephys rigs (`brainbox.behavior.dlc.SAMPLING`)."""
NOMINAL_SIZE_PX = MappingProxyType({"left": (1280, 1024), "right": (640, 512), "body": (640, 512)})
"""Width and height of frames."""
PIXELS_PER_UNIT = MappingProxyType({"left": 2, "right": 1, "body": 1})
"""Pixels of a camera per pixel of the right one (`brainbox.behavior.dlc.RESOLUTION`)."""
