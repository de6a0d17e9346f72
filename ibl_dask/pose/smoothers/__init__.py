"""Smoothers of whole series that run in the environment of their own library, behind a host."""
