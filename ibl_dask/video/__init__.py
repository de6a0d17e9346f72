"""Bytes to frames: index, chunk plan, reader, frame pass and its reducers, lazy view."""
