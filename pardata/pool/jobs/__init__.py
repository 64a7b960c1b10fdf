"""Jobs: they hand out tasks and take in the outcomes. Starts nothing."""
