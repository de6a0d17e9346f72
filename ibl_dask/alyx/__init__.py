"""Alyx, the database of the field: one client, claims and results of tasks, a spool on disk and its one writer."""
