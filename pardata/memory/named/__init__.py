"""Named shared memory: blocks and lists that any process opens by name, and their removal."""
