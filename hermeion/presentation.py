"""Plans as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hermeion.gpu_names import describe_models
from hermeion.plans import Plan, Service
from hermeion.stages import Stages
from hermeion.units import format_bytes


def service_text(service: Service) -> str:
    """One service in a few lines."""
    gpus = describe_models([gpu.model for gpu in service.gpus])
    identity = ", ".join(gpu.uuid or gpu.pci_address for gpu in service.gpus)
    memory = service.memory
    parallel = f"tensor parallel {service.tensor_parallel}"
    if service.pipeline_parallel > 1:
        parallel += f", pipeline of {service.pipeline_parallel}"
    kv = "" if service.kv_precision == "bf16" else f" in {service.kv_precision.upper()}"
    weights = f"{service.path}" if service.path else f"{service.repo}@{(service.revision or 'main')[:12]}"
    return "\n".join(
        [
            f"{service.name}: {service.variant} on {gpus} ({identity}), {service.engine} {service.engine_version}, "
            f"{parallel}, 127.0.0.1:{service.port}",
            f"  context {service.context} tokens × {service.sequences} requests; KV cache{kv}: {service.kv_tokens} "
            f"tokens promised, {memory.kv_tokens_expected} expected",
            "  per GPU: " + ", ".join(f"{name} {format_bytes(size)}" for name, size in memory.terms.items() if size),
            *(f"  mind: {remark}" for remark in service.remarks),
            f"  weights {weights}; {_runs_from(service)}; release "
            f"{service.release_id if service.is_final else 'known once the driver answers'}",
        ]
    )


def _runs_from(service: Service) -> str:
    if service.image:
        return f"image {service.runs_from}@{(service.image.digest or 'unresolved')[:19]}"
    return f"native, from {service.package.folder if service.package else service.engine}"


def plan_text(plan: Plan, stages: Stages, ways: Mapping[str, str] = MappingProxyType({})) -> str:
    """One line when there is nothing to do; else the plan, its stages and their reasons.

    Args:
        ways: By variant, how weights that are missing come to the host.
    """
    if not stages.pending:
        names = ", ".join(
            f"{service.name} serves {service.variant} (release {service.release_id})" for service in plan.services
        )
        lines = [f"nothing to do: {names or plan.driver.reason}"]
        return "\n".join([*lines, *(f"  mind: {remark}" for remark in stages.remarks)])
    lines = [service_text(service) for service in plan.services]
    lines += [f"not taken: {r.service}: {r.option}: {r.reason}" for r in plan.rejections]
    lines += [f"{stage}: {reason}" for stage, reasons in stages.pending.items() for reason in reasons]
    lines += [f"  weights of {variant}: {way}" for variant, way in ways.items()]
    lines += [f"  mind: {remark}" for remark in stages.remarks]
    return "\n".join(lines)


def refusal(message: str) -> str:
    """A refusal, marked as one."""
    return f"refused: {message}"
