"""Tasks that make the MP4 of a raw video."""
