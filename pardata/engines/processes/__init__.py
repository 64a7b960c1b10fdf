"""The engine of every day: each worker a process."""
