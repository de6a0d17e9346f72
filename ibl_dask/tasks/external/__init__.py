"""Tasks of other packages, run in their own environments."""
