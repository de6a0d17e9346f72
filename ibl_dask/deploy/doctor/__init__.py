"""Doctor: examination of a site, from facts to findings."""
