"""Simulated GPUs: recorded forms of real boards, sets of them, and the PCI tree a set shows."""
