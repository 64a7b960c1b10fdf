"""The checked graph of a run, and what is decided from it alone. Pure."""
