"""What the workers of a stage run."""
