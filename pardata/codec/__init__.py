"""An object with arrays to bytes and blocks, and back. No I/O."""
