"""Pins and figures, each with its source."""
