"""Blocks that are shared with processes that pardata did not start: their addresses, and both sides of the exchange."""
