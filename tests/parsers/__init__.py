"""Real parsers of the engines: what is rendered is what they accept."""
