"""What is computed of every frame."""
