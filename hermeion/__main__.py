"""``python -m hermeion``."""

from hermeion.cli import main

main()
