"""The output of worker processes, on its way to the main process: prints, warnings, log records and bars."""
