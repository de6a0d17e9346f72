"""Tasks that time, measure and check cameras."""
