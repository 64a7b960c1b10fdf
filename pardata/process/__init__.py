"""Processes: how workers are started, watched, signalled, replaced and ended. Nothing here knows their work."""
