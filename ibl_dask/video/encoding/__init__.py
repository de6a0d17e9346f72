"""Encoding, copying and joining of videos, and verification of the results."""
