"""What cameras and their computer noted about frames."""
