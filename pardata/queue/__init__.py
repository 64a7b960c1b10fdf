"""Queues between processes that pardata did not start."""
