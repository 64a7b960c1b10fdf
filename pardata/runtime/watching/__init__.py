"""A user's runs and pools as another process sees them: found by way of /proc, and read from their shared memory."""
