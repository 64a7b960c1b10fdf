"""The checked graph of a run, and all that follows from it alone. Pure."""
