"""Shared memory: segments, blocks, arrays in them, and the processes that hold them."""
