"""Clusters: profiles and what they start."""
