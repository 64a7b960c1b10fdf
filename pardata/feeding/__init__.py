"""Training loops: batches of a dataset or a stream, assembled by the workers."""
