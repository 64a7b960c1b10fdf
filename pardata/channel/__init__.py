"""How an object with arrays crosses from one process to another."""
