"""Quality control: check functions, their registry, their data and their records."""
