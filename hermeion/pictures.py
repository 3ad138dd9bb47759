"""A plan in a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hermeion.bars import bar, legend
from hermeion.plans import Rejection
from hermeion.units import format_bytes
from hermeion.views import Fleet, HostView, ServiceView, requests

WIDE = 130
"""From this many columns on a table has a column for everything."""

MOST_REJECTIONS = 8
"""Rejections of a service that ``hermeion plan`` lists; ``hermeion explain`` lists all."""

ESTIMATES: Mapping[str, str] = {"pull": "pull of the weights", "start": "start", "decode": "decoding"}

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """A text that cannot steer the terminal: some of what is shown was said by hosts."""
    return CONTROL.sub("\ufffd", text)


def wrapped(text: str, width: int, indent: int = 0, hang: int = 2, style: str = "") -> list[Text]:
    """A text for people in lines of ``width`` cells, all but the first further in."""
    lines: list[str] = []
    for part in clean(text).split("\n"):
        line = ""
        for word in part.split(" "):
            inset = indent + (hang if lines else 0)
            if line and inset + len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return [Text(" " * (indent + (hang if number else 0)) + line, style=style) for number, line in enumerate(lines)]


def memory_picture(service: ServiceView, width: int, *, plain: bool) -> Iterator[Text]:
    """A bar for each GPU of a service, and one legend."""
    size = format_bytes(service.device_bytes)
    names = [gpu.pci_address for gpu in service.service.gpus]
    column = max(len(name) for name in names)
    room = max(24, min(width, 120) - column - len(size) - 6)
    for name in names:
        line = Text(f"  {clean(name):<{column}}  ").append_text(bar(service.terms, room, plain=plain))
        yield line.append(f"  {size}")
    for line in legend(service.terms, width - 4, plain=plain):
        yield Text(" " * 4).append_text(line)


def estimate_lines(service: ServiceView, width: int) -> Iterator[Text]:
    """What was not measured, each with its basis."""
    for name, estimate in service.estimates.items():
        yield from wrapped(f"estimate: {ESTIMATES[name]} {estimate.text} ({estimate.basis})", width, 2, 4)


def rejection_lines(rejections: Sequence[Rejection], width: int, indent: int = 4) -> Iterator[Text]:
    """Option, reason, and bytes that it needs and that there are."""
    for rejection in rejections:
        yield from wrapped(f"- {rejection.option}: {rejection.reason}{bytes_of(rejection)}", width, indent)


def bytes_of(rejection: Rejection) -> str:
    """What an option needs and what there is, where memory was the reason."""
    if rejection.needed is None or rejection.available is None:
        return ""
    return f" (in all {format_bytes(rejection.needed)} a GPU needed, {format_bytes(rejection.available)} available)"


def cache_text(service: ServiceView) -> str:
    """The KV cache in one sentence."""
    return (
        f"{service.promised} tokens promised, {service.expected} expected; {requests(service.full_requests)} of the "
        "whole context at once"
    )


def service_picture(host: HostView, service: ServiceView, width: int, *, plain: bool) -> Iterator[Text]:
    """A service on its host: memory, cache, estimates, remarks, and what was not taken."""
    yield from wrapped(f"{host.name}  {service.name}: {service.option}", width, style="bold")
    yield from memory_picture(service, width, plain=plain)
    yield from wrapped(f"KV cache: {cache_text(service)}", width, 2)
    yield from estimate_lines(service, width)
    for remark in service.remarks:
        yield from wrapped(f"remark: {remark}", width, 2)
    if service.rejections:
        yield Text("  not taken:")
        yield from rejection_lines(service.rejections[:MOST_REJECTIONS], width)
        if (more := len(service.rejections) - MOST_REJECTIONS) > 0:
            yield Text(f"    … and {more} more: hermeion explain {service.name}")


def _todo(host: HostView) -> Text:
    if host.state == "refused":
        return Text("refused", style="red")
    if host.state == "not planned":
        return Text("not planned", style="red")
    if host.pending is None:
        return Text("not known")
    return Text(", ".join(host.pending)) if host.pending else Text("nothing", style="green")


def plan_table(fleet: Fleet, width: int) -> Table:
    """Every host with its services, or that it is refused; fewer columns where there is little room."""
    table = Table(title="Plan", title_justify="left")
    wide = width >= WIDE
    names = ("host", "service", "variant", "GPUs", "context × requests", "KV cache", "to do")
    for column in names if wide else ("host, service", "runs", "serves", "to do"):
        table.add_column(column, overflow="fold")
    for host in fleet.hosts:
        name = clean(host.name)
        if not host.services:
            dash = "–" if host.state in {"refused", "not planned"} else "none"
            table.add_row(Text(name), *([dash] * (len(table.columns) - 2)), _todo(host))
        for view in host.services:
            service = view.service
            variant, gpus = clean(service.variant), clean(view.gpus_text)
            load = f"{service.context} × {service.sequences}"
            cache = f"{view.promised} tokens, {format_bytes(view.promised * service.memory.kv_per_token)}"
            row = (name, view.name, variant, gpus, load, cache)
            narrow = (f"{name}\n{view.name}", f"{variant}\non {gpus}", f"{load}\n{cache}")
            table.add_row(*(Text(cell) for cell in (row if wide else narrow)), _todo(host))
    return table


def host_lines(host: HostView, width: int) -> Iterator[Text]:
    """Why a host is refused and what would fit, or what would be done on it."""
    name = clean(host.name)
    if host.state == "not planned":
        yield from wrapped(f"{name}  not planned: {host.message}", width, style="red")
    if host.state == "refused":
        first, _, rest = host.message.partition("\n")
        yield from wrapped(f"{name}  refused: {first}", width, style="red")
        if host.rejections:
            yield from rejection_lines(host.rejections, width)
            for gpu in host.gpus:
                if gpu.use == "unusable":
                    yield from wrapped(f"- {gpu.pci_address} ({gpu.model}): {gpu.text}", width, 4)
            yield from wrapped(rest.rpartition("\n")[2], width, 2)
        elif rest:
            yield from wrapped(rest, width, 2, 0)
    for stage, reasons in (host.pending or {}).items():
        for reason in reasons:
            yield from wrapped(f"{name}  {stage}: {reason.removeprefix(f'{host.name}: ')}", width)


def plan_picture(fleet: Fleet, width: int, *, plain: bool) -> RenderableType:
    """The whole fleet."""
    parts: list[RenderableType] = [plan_table(fleet, width)]
    for host in fleet.hosts:
        for service in host.services:
            parts += ["", *service_picture(host, service, width, plain=plain)]
    parts.append("")
    for host in fleet.hosts:
        parts += host_lines(host, width)
    return Group(*parts)
