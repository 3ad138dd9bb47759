"""What an inventory says about an engine's version, options and environment, judged before any host is seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from hermeion.engines.doors import DOORS
from hermeion.engines.environments import check_environment
from hermeion.engines.option_values import is_opposite, plain, wrong_value
from hermeion.engines.protocol import Engine
from hermeion.engines.tables import LABELS, Option, Table, table, versions
from hermeion.errors import InventoryError
from hermeion.inventory import ServiceSpec
from hermeion.variants import Variant

THINKING = "default-chat-template-kwargs"
"""Option with which a service of vLLM and SGLang thinks if a request does not say."""

DASH = re.compile(r"-(?!\d+$|\d*\.\d+$).")
"""A value that ``argparse`` takes for an option: a dash in front, and no number."""

LOST: Mapping[str, Mapping[str, str]] = {
    "vllm": {"shutdown-timeout": "requests in flight are cut off when it stops"},
}
"""By engine, options of the plan that old versions lack, and what is lost without them."""


def check_options(path: str, service: ServiceSpec, engine: Engine) -> None:
    """See that the engine's version is known, and that it knows every option and takes none that the plan sets.

    A version newer than the newest known one is allowed: :func:`version_remark`.

    Args:
        path: Of the service in the inventory, for messages: ``gpu-1: hermes_services/hermes``.

    Raises:
        InventoryError: It does not; the option and what helps are named.
    """
    try:
        known = table(engine.NAME, version_of(service, engine))
    except InventoryError as error:
        raise InventoryError(f"{path}/engine_version: {error}.") from error
    check_environment(path, service.environment, engine, known.version)
    for name in service.served_names:
        if name.startswith("-"):
            raise InventoryError(
                f"{path}/served_names: {name!r} begins with a dash, and engines take it for an option."
            )
    seen: dict[str, str] = {}
    for name, value in service.extra_args.items():
        option = _option(f"{path}/extra_args", engine, known, name, value)
        if option.name in seen:
            raise InventoryError(
                f"{path}/extra_args: {seen[option.name]!r} and {name!r} are one option of {engine.LABEL}. Give it once."
            )
        seen[option.name] = name
    if service.thinking and engine.NAME in {"vllm", "sglang"} and not known.find(THINKING):
        newest = table(engine.NAME, versions(engine.NAME)[-1]).find(THINKING)
        since = newest.since if newest else None
        raise InventoryError(
            f"{path}/thinking: {engine.LABEL} {known.version} cannot think by default ({THINKING} came with "
            f"{since}). Choose an engine_version from {since} on, or let requests ask for it."
        )


def version_of(service: ServiceSpec, engine: Engine) -> str:
    """The version that the inventory asks for, or the newest known."""
    return service.engine_version or versions(engine.NAME)[-1]


def version_remark(engine: Engine, version: str) -> str | None:
    """What a person should know about a version whose own options were not read; ``None``: they were.

    Raises:
        InventoryError: It is older than the oldest known version.
    """
    return table(engine.NAME, version).warning


def option_remarks(service: ServiceSpec, engine: Engine) -> tuple[str, ...]:
    """What a person should know about a service's options: those that go away, and what its version lacks.

    Args:
        service: One that :func:`check_options` accepts.
    """
    known = table(engine.NAME, version_of(service, engine))
    found = [
        f"{engine.LABEL}'s option {option.name} is deprecated since {option.deprecated}"
        for name in service.extra_args
        if (option := known.find(name)) and option.deprecated
    ]
    found += [
        f"{engine.LABEL} {known.version} has no {name}: {lost}"
        for name, lost in LOST.get(engine.NAME, {}).items()
        if not known.find(name)
    ]
    if engine.NAME == "sglang":
        found.append(f"SGLang lists the name {service.name} alone, and answers to every name")
    return tuple(found)


def normalise(engine: str, version: str, extra_args: Mapping[str, Any]) -> dict[str, Any]:
    """Options under the names of the version's table; the opposite of a flag is the flag with ``False``.

    Args:
        engine: Its name in inventories.
        extra_args: Options that :func:`check_options` accepts; unknown ones stay.
    """
    known = table(engine, version)
    found: dict[str, Any] = {}
    for name, value in extra_args.items():
        option = known.find(name)
        if option is None:
            found[plain(name)] = value
        else:
            found[option.name] = not value if is_opposite(option, name) and isinstance(value, bool) else value
    return found


def known_only(known: Table, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that a version has."""
    return {name: value for name, value in options.items() if name in known.options}


def check_parsers(path: str, variant: Variant, known: Table) -> None:
    """See that the version has the parsers of a variant: the engines themselves find out only when they start.

    Args:
        path: Of the model in the inventory, for messages: ``hermes_catalog/my-llama``.

    Raises:
        InventoryError: It does not; the nearest name is shown.
    """
    for kind, wanted, parsers in (
        ("tool", variant.tool_parsers.get(known.engine), known.tool_parsers),
        ("reasoning", variant.reasoning_parsers.get(known.engine), known.reasoning_parsers),
    ):
        if wanted and parsers and wanted not in parsers:
            near = get_close_matches(wanted, parsers, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(parsers)}."
            label = LABELS[known.engine]
            raise InventoryError(f"{path}/{kind}_parser: {label} {known.version} has no {kind} parser {wanted!r}{hint}")


def _decided(reason: str) -> str:
    """Why an option is not free; where keys of the service decide it, that they do."""
    keys = re.split(r", | and ", reason)
    if not set(keys) <= set(ServiceSpec.model_fields):
        return reason
    return f"{reason} {'decides' if len(keys) == 1 else 'decide'} it"


def _option(path: str, engine: Engine, known: Table, name: str, value: Any) -> Option:
    """The option of an entry of ``extra_args`` that may be set, to this value."""
    option = known.find(name)
    if option is None:
        raise InventoryError(f"{path}: {_unknown(known, name)}")
    alias = "" if plain(name) == plain(option.name) else f" ({option.name})"
    planned = {own.name: reason for key, reason in engine.PLANNED.items() if (own := known.find(key))}
    reason = planned.get(option.name)
    if not reason and value is not is_opposite(option, name):  # a door may be shut
        reason = DOORS[engine.NAME].get(option.name)
    if reason:
        raise InventoryError(f"{path}: {name.lstrip('-')!r}{alias} is not for extra_args to set: {_decided(reason)}.")
    if wrong := wrong_value(option, value):
        raise InventoryError(f"{path}: {name!r} {wrong}.")
    if engine.NAME == "sglang" and DASH.match(str(value)):
        raise InventoryError(
            f"{path}: {name!r} cannot be {value!r}: SGLang takes what begins with a dash for another option."
        )
    if engine.NAME == "vllm" and value == "--":  # what else begins with a dash: vllm_yaml
        raise InventoryError(f"{path}: {name!r} cannot be '--': Python's argument parser drops it.")
    return option


def _unknown(known: Table, name: str) -> str:
    label = LABELS[known.engine]
    base = name.partition(".")[0]
    if known.engine == "vllm" and "." in name and (option := known.find(base)):
        return f"{name!r} is a part of {option.name!r}: give the whole as JSON text."
    having = [version for version in versions(known.engine) if table(known.engine, version).find(name)]
    what = f"{label} {known.version} has no option {name!r}"
    if having:
        span = having[0] if len(having) == 1 else f"{having[0]} to {having[-1]}"
        return f"{what}; {label} {span} {'has' if len(having) == 1 else 'have'} it."
    near = known.nearest(name) or known.nearest(name.upper())
    return f"{what}; did you mean {near!r}?" if near else f"{what}."
