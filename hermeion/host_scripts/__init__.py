"""Programs that run on the hosts, with their own Python."""
