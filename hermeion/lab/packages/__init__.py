"""Stand-in driver packages: one folder each, with ``control``, ``root/`` and maintainer scripts."""
