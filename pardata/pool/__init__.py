"""Worker pools."""
