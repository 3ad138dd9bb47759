"""Plans as people read them."""

from __future__ import annotations

from hermeion.plans import Plan, Service
from hermeion.stages import Stages
from hermeion.units import format_bytes


def service_text(service: Service) -> str:
    """One service in four lines."""
    gpus = f"{len(service.gpus)} × {service.gpus[0].model}"
    identity = ", ".join(gpu.uuid or gpu.pci_address for gpu in service.gpus)
    memory = service.memory
    return "\n".join(
        [
            f"{service.name}: {service.variant} on {gpus} ({identity}), {service.engine} {service.engine_version}, "
            f"127.0.0.1:{service.port}",
            f"  context {service.context} tokens × {service.sequences} requests; KV cache {service.kv_tokens} tokens "
            f"promised, {memory.kv_tokens} fit",
            f"  per GPU: weights {format_bytes(memory.weights)}, activations {format_bytes(memory.activations)}, "
            f"other {format_bytes(memory.communication + memory.graphs)}, margin {format_bytes(memory.margin)}, "
            f"KV cache {format_bytes(memory.kv_cache)}",
            f"  weights {service.repo}@{(service.revision or 'main')[:12]}; image {service.image.repository}:"
            f"{service.image.tag}@{(service.image.digest or 'unresolved')[:19]}; release "
            f"{service.release_id if service.is_final else 'known once the driver answers'}",
        ]
    )


def plan_text(plan: Plan, stages: Stages) -> str:
    """One line when there is nothing to do; else the plan, its stages and their reasons."""
    if not stages.pending:
        names = ", ".join(
            f"{service.name} serves {service.variant} (release {service.release_id})" for service in plan.services
        )
        return f"nothing to do: {names or 'no service is wanted'}"
    lines = [service_text(service) for service in plan.services]
    lines += [f"not taken: {r.service}: {r.option}: {r.reason}" for r in plan.rejections]
    lines += [f"{stage}: {reason}" for stage, reasons in stages.pending.items() for reason in reasons]
    return "\n".join(lines)


def refusal(message: str) -> str:
    """A refusal, marked as one."""
    return f"refused: {message}"
