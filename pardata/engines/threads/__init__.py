"""Each worker a thread of this process."""
