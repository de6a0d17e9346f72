"""Examination of a site, and what follows from it."""
