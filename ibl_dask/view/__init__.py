"""Viewer of a session: its cameras in step, what was measured of them, and the places that need a look."""
