"""The process that holds engines in their own environment, and the side of it that is in the worker."""
