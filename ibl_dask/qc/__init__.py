"""Judgements: a registry of small check functions, and what they look at."""
