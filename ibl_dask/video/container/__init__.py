"""Containers and bitstreams: which packets a file holds."""
