"""The task that lists what a session recorded."""
