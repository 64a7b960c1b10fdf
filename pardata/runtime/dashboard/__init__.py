"""The page of a run or a pool while it goes on, served to a browser on this machine."""
