"""What a host says of its mounts, where it is to say something else than the truth."""
