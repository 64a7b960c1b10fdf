"""The engine whose workers are threads of this process."""
