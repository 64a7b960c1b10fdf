"""Arrays in files and stores, which each process opens for itself: one interface, an adapter for each format."""
