"""The tiny model as GGUF files."""
