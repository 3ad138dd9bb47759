"""How many bytes a service takes on each GPU, before anything runs: one module for each engine."""
