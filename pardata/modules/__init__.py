"""The user's modules: which of them a worker can import, and what a function reads of them."""
