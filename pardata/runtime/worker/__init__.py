"""A worker's side: its main function, its ends of channels, and the port that its program runs over."""
