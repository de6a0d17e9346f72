"""Clips for people: all cameras of a session side by side around an event."""
