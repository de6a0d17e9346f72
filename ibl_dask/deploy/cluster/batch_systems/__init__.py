"""The batch systems: one module each."""
