"""Task that lists the recordings of a session."""
