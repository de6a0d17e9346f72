"""Alyx, the database of the field: one client, a spool of results on disk, and the one writer that sends them."""
