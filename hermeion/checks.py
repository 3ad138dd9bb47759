"""Judge a plan without knowing how it was made: also one that is read back from a host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from hermeion.hosts import Host
from hermeion.plans import Plan, Service
from hermeion.records import Record


class Finding(Record):
    """Something about a plan that a person should know.

    Attributes:
        severity: An ``error`` stops the run before anything is changed.
        subject: Path: ``gpu-1/hermes/gpus``.
    """

    severity: Literal["error", "warning"]
    subject: str
    message: str


def _gpus_exist(service: Service, host: Host, path: str) -> Iterator[Finding]:
    here = {gpu.pci_address: gpu for gpu in host.gpus}
    for planned in service.gpus:
        gpu = here.get(planned.pci_address)
        if gpu is None:
            yield Finding(
                severity="error",
                subject=f"{path}/gpus",
                message=f"no GPU at {planned.pci_address} any more",
            )
        elif planned.uuid and gpu.uuid and planned.uuid != gpu.uuid:
            yield Finding(
                severity="error",
                subject=f"{path}/gpus",
                message=f"the GPU at {planned.pci_address} is {gpu.uuid}, planned was {planned.uuid}",
            )


def _memory_fits(service: Service, path: str) -> Iterator[Finding]:
    if service.memory.kv_cache < service.kv_needed:
        yield Finding(
            severity="error",
            subject=f"{path}/memory",
            message=f"the KV cache has {service.memory.kv_cache} bytes, a context of {service.context} tokens needs "
            f"{service.kv_needed}",
        )
    if service.kv_tokens > service.memory.kv_tokens:
        yield Finding(
            severity="error",
            subject=f"{path}/kv_tokens",
            message=f"promises {service.kv_tokens} tokens, {service.memory.kv_tokens} fit",
        )


def _pins_are_pins(service: Service, path: str) -> Iterator[Finding]:
    if service.revision and not re.fullmatch(r"[0-9a-f]{40}", service.revision):
        yield Finding(severity="error", subject=f"{path}/revision", message=f"not a commit: {service.revision}")
    if service.image and service.image.digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", service.image.digest):
        yield Finding(severity="error", subject=f"{path}/image", message=f"not a digest: {service.image.digest}")
    if any(key.replace("_", "-") == "trust-remote-code" for key in service.config):
        yield Finding(severity="error", subject=f"{path}/config", message="trust-remote-code is never set")


def check_plan(plan: Plan, host: Host) -> tuple[Finding, ...]:
    """Errors first, then warnings, then by subject."""
    findings: list[Finding] = []
    users: dict[str, str] = {}
    ports: dict[int, str] = {}
    for service in plan.services:
        path = f"{plan.host}/{service.name}"
        findings += [
            *_gpus_exist(service, host, path),
            *_memory_fits(service, path),
            *_pins_are_pins(service, path),
        ]
        for gpu in service.gpus:
            if gpu.pci_address in users:
                findings.append(
                    Finding(
                        severity="error",
                        subject=f"{path}/gpus",
                        message=f"{gpu.pci_address} belongs to {users[gpu.pci_address]} already",
                    )
                )
            users[gpu.pci_address] = service.name
        if service.port in ports:
            findings.append(
                Finding(
                    severity="error",
                    subject=f"{path}/port",
                    message=f"port {service.port} belongs to {ports[service.port]} already",
                )
            )
        ports[service.port] = service.name
    return tuple(sorted(findings, key=lambda f: (f.severity != "error", f.subject, f.message)))
