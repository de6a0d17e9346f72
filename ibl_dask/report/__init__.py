"""Presentation of results, made from values: figures, one HTML file per session, terminal tables, notebook views."""
