"""Dockerfiles and their context folders, as package data."""
