"""The default engine: each worker is a process."""
