"""The program that brings weights to a host: pulls them, checks every byte, and keeps the Hub's cache in order.

It is written to a host and runs there, as ``python -m puller JOB.json``, with the standard library and
``huggingface_hub`` alone: nothing else of Hermeion is there. Python 3.10 or newer.
"""
