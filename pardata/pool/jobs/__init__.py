"""What a pool works on: jobs hand out tasks and take in what came of them. Starts nothing."""
