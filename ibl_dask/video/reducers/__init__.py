"""Reducers of the frame pass: measurements of single frames and of pairs of frames, one module per product."""
