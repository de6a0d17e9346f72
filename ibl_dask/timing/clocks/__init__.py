"""Main clocks (DAQ, timeline, Bpod), and the camera pulses on them."""
