"""The interfaces of other libraries over a pool: multiprocessing and joblib."""
