"""Values: what the rest of the package talks about. No I/O beyond reading a description."""
