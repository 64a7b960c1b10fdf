"""The programs that the workers of a stage run."""
