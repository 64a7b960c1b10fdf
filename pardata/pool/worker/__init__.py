"""A pool worker's side: its loop, and the calls of a task."""
