"""The tiny model that the lab trains for itself."""
