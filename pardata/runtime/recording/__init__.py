"""The recording of a run or a pool: the calls and times of each worker, and the pictures that are made of them."""
