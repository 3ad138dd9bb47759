"""Hermeion: bare GPU hosts to a verified endpoint for Hermes models."""

__version__ = "0.1.0.dev0"
