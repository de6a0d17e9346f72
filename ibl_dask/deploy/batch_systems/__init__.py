"""Batch systems behind one protocol: job options, queue, exclusion of nodes, environment of a job."""
