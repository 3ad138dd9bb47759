"""What an inventory says about the environment of an engine's process, judged before any host is seen."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hermeion.engines.doors import ENVIRONMENT
from hermeion.engines.protocol import Engine
from hermeion.engines.tables import table, versions
from hermeion.errors import InventoryError

SECRET = re.compile(r"(^|_)(API_KEYS?|TOKEN|SECRET|PASSWORD|PASSWD|ACCESS_KEY|PRIVATE_KEY)$")


def check_environment(path: str, environment: Mapping[str, str], engine: Engine, version: str) -> None:
    """See that no variable is a secret, an open door, one that the plan sets, or an option in disguise.

    Args:
        path: Of the service in the inventory, for messages: ``gpu-1: hermes_services/hermes``.

    Raises:
        InventoryError: One is; it is named with the reason.
    """
    for name, value in environment.items():
        reason = ENVIRONMENT.get(name)
        if SECRET.search(name):
            raise InventoryError(
                f"{path}/environment: {name!r} looks like a secret, and the plan and `docker inspect` show the "
                "environment. Keys are lines of /etc/hermeion/<service>/api-keys on the host; engines need no token."
            )
        if reason:
            raise InventoryError(f"{path}/environment: {name!r} is not for environment to set: {reason}.")
        if is_option(engine.NAME, version, name):
            raise InventoryError(
                f"{path}/environment: {name!r} is an option of {engine.LABEL}: give it in extra_args, where it is "
                "checked."
            )
        if "\0" in value:
            raise InventoryError(f"{path}/environment: {name!r} has a character that no environment carries: '\\x00'.")


def is_option(engine: str, version: str, name: str) -> bool:
    """Whether an environment variable is an option's other name; Ollama hands llama.cpp's on to it."""
    if table(engine, version).find(name) is not None and name.isupper():
        return True
    if engine != "ollama" or not name.startswith("LLAMA_ARG_"):
        return False
    return table("llamacpp", versions("llamacpp")[-1]).find(name) is not None
