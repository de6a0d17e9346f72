"""Records of the cameras: their files and logs."""
