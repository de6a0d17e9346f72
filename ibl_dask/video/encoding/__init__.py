"""Compressing, copying and joining videos."""
