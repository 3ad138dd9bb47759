"""Reads the options of engines out of their releases and keeps ``hermeion/data/engines/*.json``.

Standard library and ``packaging`` alone: ``scripts/engine-tables`` runs it without the project's environment.
"""
