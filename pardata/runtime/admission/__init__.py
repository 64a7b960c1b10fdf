"""Admission to memory: a worker gets it now, waits, passes the limit, or fails."""
