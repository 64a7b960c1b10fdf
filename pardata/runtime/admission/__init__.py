"""Whether a worker gets memory for a block now, waits for it, or fails."""
