"""Checkpoints: folders in which a job notes how far it is, so that the same call goes on after a kill."""
