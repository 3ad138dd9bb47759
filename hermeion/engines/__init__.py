"""Engines: one file each, holding the engine's whole life."""
