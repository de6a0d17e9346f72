"""Videos: containers, frame index, exact reader, chunk plan, frame pass and its reducers, encoding, lazy view."""
