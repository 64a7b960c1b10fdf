"""Queues between processes of others."""
