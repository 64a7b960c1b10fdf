"""Arrays that NumPy makes in a worker are born in its blocks: the allocator in C, and the arena that lends to it."""
