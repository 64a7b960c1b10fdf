"""A pool worker's side: its loop, and what it does with a task."""
