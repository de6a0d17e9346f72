"""The main clocks: DAQ, timeline and Bpod."""
