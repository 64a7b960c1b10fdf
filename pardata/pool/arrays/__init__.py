"""Maps over arrays: checked, placed, cut into blocks, put together."""
