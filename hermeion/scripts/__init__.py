"""The shell scripts that bring a host to its plan: pure texts, run as jobs; one file for each stage."""
