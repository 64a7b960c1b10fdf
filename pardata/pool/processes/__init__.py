"""A pool's worker processes: how they are connected, fed, replaced and ended."""
