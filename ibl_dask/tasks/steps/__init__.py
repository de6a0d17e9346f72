"""The steps of the camera tasks: each connects rooms that do not know each other, and returns a small record.

Frames never leave these functions; what they return is counts and short facts.
"""
