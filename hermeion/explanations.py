"""The whole reasoning for one service on one host, as a person reads it: what was wanted, found, tried and taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from hermeion.bars import COLOURS
from hermeion.pictures import (
    ESTIMATES,
    bytes_of,
    cache_text,
    memory_picture,
    rejection_lines,
    wrapped,
)
from hermeion.units import format_bytes
from hermeion.views import HostView, ServiceView, requests


def _heading(text: str) -> Text:
    return Text(text, style="bold")


def _wanted(host: HostView, name: str, width: int) -> Iterator[Text]:
    yield _heading("Wanted")
    asked = {key: value for key, value in (host.asked or {}).get(name, {}).items() if key != "name"}
    rows: dict[str, Any] = asked | host.wanted
    catalog = rows.pop("hermes_catalog", ())
    own = [entry for entry in catalog if entry["name"] == asked.get("model")]
    for key, value in (rows | ({"hermes_catalog": own} if own else {})).items():
        yield from wrapped(f"{key} = {json.dumps(value, ensure_ascii=False)}", width, 2)
    yield Text("  everything else at its default")


def _found(host: HostView, width: int) -> Iterator[Text]:
    yield _heading("Found")
    for gpu in host.gpus:
        yield from wrapped(f"{gpu.pci_address}  {gpu.model}: {gpu.text}", width, 2, 14)
    if not host.gpus:
        yield Text("  no GPU of which anything is known")
    if host.driver:
        yield from wrapped(f"driver: {host.driver.action}: {host.driver.reason}", width, 2)
        for remark in host.driver.remarks:
            yield from wrapped(f"mind: {remark}", width, 4)


def _tried(service: ServiceView, width: int) -> Iterator[Text]:
    yield _heading("Tried, in this order")
    if service.stays:
        yield from wrapped(
            f"- nothing: release {service.service.release_id} runs, what is wanted is still the same, and it is still "
            "possible; so it stays",
            width,
            2,
        )
    elif not service.rejections:
        yield Text("  nothing else: the first option fits")
    for rejection in service.rejections:
        yield from wrapped(f"- {rejection.option}", width, 2)
        yield from wrapped(f"no: {rejection.reason}{bytes_of(rejection)}", width, 4)
    yield _heading("Taken")
    yield from wrapped(f"+ {service.option}", width, 2, style="green")


def _memory(service: ServiceView, width: int, *, plain: bool) -> Iterator[Text]:
    memory = service.service.memory
    yield _heading("Memory of each GPU" if len(service.service.gpus) == 1 else "Memory of each GPU (of the fullest)")
    yield from memory_picture(service, width, plain=plain)
    for term in service.terms:
        style = "" if plain else f"black on {COLOURS.get(term.name, 'white')}"
        yield Text.assemble(
            "  ",
            (term.letter if plain else f" {term.letter} ", style),
            (f" {term.name}: ", "bold"),
            f"{format_bytes(term.bytes)} ({term.bytes} bytes)",
        )
        yield from wrapped(term.meaning, width, 6, 0)
    yield from wrapped(
        f"Together {format_bytes(memory.device)} ({memory.device} bytes): what CUDA sees of the GPU.", width, 2
    )


def _cache(service: ServiceView, width: int) -> Iterator[Text]:
    yield _heading("KV cache")
    memory = service.service.memory
    yield from wrapped(cache_text(service), width, 2)
    yield from wrapped(
        f"{service.fit} tokens fit after the margin of {format_bytes(memory.margin)}; {memory.kv_per_token} bytes a "
        f"token on each GPU; up to {requests(service.service.sequences)} at a time",
        width,
        2,
    )


def _estimates(service: ServiceView, width: int) -> Iterator[Text]:
    yield _heading("Estimates (nothing here was measured)")
    for name, estimate in service.estimates.items():
        yield from wrapped(f"{ESTIMATES[name]}: {estimate.text}", width, 2)
        yield from wrapped(f"from: {estimate.basis}", width, 6, 2)


def _refused(host: HostView, name: str, width: int) -> Iterator[Text]:
    yield _heading("Refused")
    first, _, rest = host.message.partition("\n")
    yield from wrapped(first, width, 2, style="red")
    others = {rejection.service for rejection in host.rejections} - {name}
    if others:
        yield from wrapped(
            f"the host is refused for {', '.join(sorted(others))}; {name} was not judged by itself", width, 2
        )
    if host.rejections:
        yield _heading("Tried, in this order")
        yield from rejection_lines(host.rejections, width, 2)
    elif rest:
        yield from wrapped(rest, width, 2, 0)
    if host.fix:
        yield _heading("What would fit")
        yield from wrapped(host.fix.text, width, 2)
        for key, value in host.fix.changes.items():
            yield from wrapped(f"in the inventory: {key} = {json.dumps(value, ensure_ascii=False)}", width, 4)


def explain_host(host: HostView, name: str, width: int, *, plain: bool) -> Iterator[Text]:
    """Everything about one service on one host."""
    yield from wrapped(f"{name} on {host.name}", width, style="bold underline")
    if host.state == "not planned":
        yield from wrapped(f"not planned: {host.message}", width, 2, style="red")
        return
    yield from _wanted(host, name, width)
    yield from _found(host, width)
    service = next((service for service in host.services if service.name == name), None)
    if service is None:
        yield from _refused(host, name, width)
        return
    yield from _tried(service, width)
    yield from _memory(service, width, plain=plain)
    yield from _cache(service, width)
    yield from _estimates(service, width)
    if service.remarks:
        yield _heading("Remarks")
        for remark in service.remarks:
            yield from wrapped(f"- {remark}", width, 2)


def explain_json(host: HostView, name: str) -> dict[str, Any]:
    """The same for programs."""
    service = next((service for service in host.services if service.name == name), None)
    data: dict[str, Any] = {
        "state": host.state,
        "message": host.message,
        "wanted": {"service": (host.asked or {}).get(name, {}), "host": host.wanted},
        "gpus": [gpu.to_json() for gpu in host.gpus],
        "driver": host.driver.to_json() if host.driver else None,
        "pending": host.pending,
        "service": service.model_dump(mode="json", exclude={"wanted"}) if service else None,
        "rejections": [rejection.to_json() for rejection in (service.rejections if service else host.rejections)],
        "fix": host.fix.to_json() if host.fix else None,
    }
    return data
