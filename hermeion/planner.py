"""From what is wanted and what is there to a plan. Pure: no clock, environment, network or random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from hermeion.drivers import decide_driver
from hermeion.engines import vllm
from hermeion.errors import InventoryError, PlacementError
from hermeion.hosts import Gpu, Host, reconcile
from hermeion.images import parse_image
from hermeion.inventory import HostSpec, ServiceSpec
from hermeion.plans import Image, MemoryBudget, Plan, PlannedGpu, Rejection, Service
from hermeion.probe import Probe
from hermeion.units import format_bytes
from hermeion.variants import Catalog, Variant, merge_catalog

COMFORTABLE_CONTEXT = 32768
"""With ``context="max"`` a variant with fewer bits is taken only if the better one does not reach this many tokens."""

CONTEXT_STEP = 256
"""A context that memory limits is rounded down to this many tokens."""

OUR_OPTIONS = frozenset({"api-key", "host", "model", "port", "revision", "trust-remote-code", "config"})
"""Options that ``extra_args`` may not set: what the plan decides, and remote code."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant on GPUs, with the context that fits there."""

    variant: Variant
    gpus: tuple[Gpu, ...]
    sequences: int
    context: int
    memory: MemoryBudget


def find_variants(host: str, spec: ServiceSpec, catalog: Catalog) -> tuple[Variant, ...]:
    """The variants that a service may use.

    Raises:
        InventoryError: The model or variant is in no catalogue; the known names are listed.
    """
    if spec.model not in catalog:
        raise InventoryError(
            f"{host}: hermes_services/{spec.name}/model: {spec.model!r} is in no catalogue. "
            f"Known: {', '.join(sorted(catalog))}. Own models go into hermes_catalog."
        )
    variants = catalog[spec.model]
    if spec.variant == "auto":
        return variants
    chosen = tuple(v for v in variants if spec.variant in {v.name, v.precision})
    if not chosen:
        raise InventoryError(
            f"{host}: hermes_services/{spec.name}/variant: {spec.model} has no variant {spec.variant!r}. "
            f"Known: {', '.join(v.name for v in variants)}."
        )
    return chosen


def check_inventory(host: str, spec: HostSpec) -> None:
    """What can be judged without having seen the host.

    Raises:
        InventoryError: A model, variant, version or option does not exist.
    """
    catalog = merge_catalog(spec.hermes_catalog)
    for service in spec.hermes_services:
        find_variants(host, service, catalog)
        path = f"{host}: hermes_services/{service.name}"
        version = service.engine_version
        if version and version not in vllm.VERSIONS:
            raise InventoryError(
                f"{path}/engine_version: vLLM {version} is not one of those that were checked: "
                f"{', '.join(vllm.VERSIONS)}."
            )
        ours = sorted(OUR_OPTIONS & {option.lstrip("-").replace("_", "-") for option in service.extra_args})
        if ours:
            raise InventoryError(f"{path}/extra_args: {ours[0]!r} is not for extra_args to set.")


def _gpu_sets(spec: ServiceSpec, free: Sequence[Gpu], current: Service | None) -> list[tuple[Gpu, ...]]:
    """The sets of GPUs to try, fewest first; the set that serves now stands before others of its size."""
    if isinstance(spec.gpus, tuple):
        named = tuple(gpu for gpu in free if gpu.uuid in spec.gpus)
        return [named if len(named) == len(set(spec.gpus)) else ()]
    # A GPU on which others hold more than the engine leaves comes last; a display's few megabytes move nothing.
    free = sorted(free, key=lambda gpu: gpu.free < gpu.memory * vllm.UTILISATION)
    counts = [1, 2, 4, 8] if spec.gpus == "auto" else [int(spec.gpus)]
    models = list(dict.fromkeys(gpu.model for gpu in free))
    sets = []
    for count in counts:
        now = {gpu.pci_address for gpu in current.gpus} if current else set()
        running = tuple(gpu for gpu in free if gpu.pci_address in now)
        if len(running) == count:
            sets.append(running)
        sets += [
            like[:count] for model in models if len(like := tuple(gpu for gpu in free if gpu.model == model)) >= count
        ]
    return sets


def _try(spec: ServiceSpec, variant: Variant, gpus: tuple[Gpu, ...]) -> Candidate | str:
    """The candidate, or one sentence why there is none."""
    if reason := vllm.accepts(variant, gpus):
        return reason
    sequences = spec.sequences or min(vllm.default_sequences(gpu) for gpu in gpus)
    memory = vllm.budget(variant, gpus, sequences)
    for gpu in gpus:
        if gpu.free < memory.total:
            return (
                f"others hold {format_bytes(gpu.memory - gpu.free)} of the memory of {gpu.uuid}; the engine "
                f"needs {format_bytes(memory.total)} free"
            )
    if memory.kv_cache <= 0:
        return (
            f"weights and overhead need {format_bytes(memory.total - memory.kv_cache)} per GPU, "
            f"{format_bytes(memory.total)} may be used"
        )
    longest = variant.shape.max_context
    fits = longest if memory.kv_tokens >= longest else memory.kv_tokens // CONTEXT_STEP * CONTEXT_STEP
    if spec.context != "max":
        if spec.context > longest:
            return f"the model was made for {longest} tokens of context, {spec.context} are wanted"
        if spec.context > memory.kv_tokens:
            return f"the largest context that fits is {fits} tokens, {spec.context} are wanted"
        fits = spec.context
    elif fits < min(spec.min_context, longest):
        return f"the largest context that fits is {fits} tokens, at least {spec.min_context} are wanted"
    return Candidate(variant, gpus, sequences, fits, memory)


def _choose(candidates: Sequence[Candidate]) -> Candidate:
    """The first with a comfortable context on the fewest GPUs that reach all of it; else the longest context."""
    for candidate in candidates:
        variant = candidate.variant
        longest = max(c.context for c in candidates if c.variant is variant)
        if longest >= min(COMFORTABLE_CONTEXT, variant.shape.max_context) and candidate.context == longest:
            return candidate
    return max(candidates, key=lambda c: c.context)


def _current(probe: Probe, name: str) -> Service | None:
    if name not in probe.releases:
        return None
    try:
        return Service.model_validate(probe.releases[name][1])
    except ValidationError:
        return None  # written by another version of Hermeion: planned anew


def _image(spec: ServiceSpec, host: HostSpec, version: str, current: Service | None) -> Image:
    image = parse_image(spec.image or vllm.IMAGE.format(version=version), host.hermes_mirrors.registry)
    if current and not image.digest and not host.hermes_refresh:
        known = current.image
        if (known.name, known.tag) == (image.name, image.tag):
            return known
    return image


def _service(spec: ServiceSpec, host: HostSpec, name: str, chosen: Candidate, current: Service | None) -> Service:
    variant = chosen.variant
    revision = variant.revision
    if not revision and current and current.repo == variant.repo and not host.hermes_refresh:
        revision = current.revision
    version = spec.engine_version or vllm.VERSIONS[-1]
    seconds = vllm.start_seconds(variant.bytes)
    served_names = tuple(dict.fromkeys((spec.name, variant.repo)))
    return Service(
        name=spec.name,
        host=name,
        model=spec.model,
        variant=variant.name,
        repo=variant.repo,
        revision=revision,
        precision=variant.precision,
        weights_bytes=variant.bytes,
        engine=vllm.NAME,
        engine_version=version,
        image=_image(spec, host, version, current),
        gpus=tuple(
            PlannedGpu(pci_address=g.pci_address, uuid=g.uuid, model=g.model, memory=g.memory) for g in chosen.gpus
        ),
        context=chosen.context,
        sequences=chosen.sequences,
        kv_tokens=min(chosen.context * chosen.sequences, chosen.memory.kv_tokens),
        memory=chosen.memory,
        port=spec.port,
        served_names=served_names,
        thinking=spec.thinking,
        cache=host.hermes_cache,
        config=vllm.config(
            spec,
            variant,
            revision=revision,
            gpus=chosen.gpus,
            context=chosen.context,
            sequences=chosen.sequences,
            served_names=served_names,
        ),
        environment=vllm.environment(seconds),
        start_seconds=seconds,
    )


def _place(
    spec: ServiceSpec, host: Host, free: Sequence[Gpu], variants: Sequence[Variant], current: Service | None
) -> tuple[Candidate, list[Rejection]]:
    rejections: list[Rejection] = []
    candidates: list[Candidate] = []
    for variant in variants:
        for gpus in _gpu_sets(spec, free, current):
            option = f"{variant.name} on {len(gpus)} × {gpus[0].model if gpus else 'no such GPU'}"
            result = _try(spec, variant, gpus) if gpus else "not all of the GPUs named are here and free"
            if isinstance(result, str):
                rejections.append(Rejection(service=spec.name, option=option, reason=result))
            else:
                candidates.append(result)
    if not candidates:
        tried = "\n".join(f"  - {r.option}: {r.reason}" for r in rejections)
        raise PlacementError(
            f"{host.name}: {spec.name}: {spec.model} fits on no free GPU of this host.\n"
            f"{tried or '  - no GPU is free'}\n"
            "Ask for a shorter context, a smaller variant, or more GPUs."
        )
    chosen = _choose(candidates)
    return chosen, rejections


def make_plan(name: str, spec: HostSpec, probe: Probe) -> Plan:
    """Decide everything about one host.

    Raises:
        PlacementError: Something wanted fits nowhere, or the host is in a state that must not be changed.
        InventoryError: A wanted model or variant does not exist.
    """
    catalog: Mapping[str, tuple[Variant, ...]] = merge_catalog(spec.hermes_catalog)
    if not probe.is_root:
        raise PlacementError(f"{name}: needs root. Log in as root, or set _sudo = True in the inventory.")
    if "systemctl" not in probe.tools:
        raise PlacementError(f"{name}: systemd is not running here; services are systemd units.")
    if probe.broken_packages:
        first = probe.broken_packages[0]
        raise PlacementError(
            f"{name}: dpkg left {', '.join(probe.broken_packages)} half-configured, and every apt call fails "
            f"until that is repaired: apt-get purge {first}, or dpkg --configure -a; then run again."
        )
    host = reconcile(name, probe)
    if not host.gpus:
        raise PlacementError(
            f"{name}: no NVIDIA GPU on the PCI bus. Take the host out of the inventory, or look whether the "
            "card is seated and not passed through to a guest (lspci -nn -d 10de:)."
        )
    driver = decide_driver(spec.hermes_driver, host, probe, vllm.MIN_DRIVER)
    free = list(host.gpus)
    services, rejections = [], []
    for wanted in spec.hermes_services:
        current = _current(probe, wanted.name)
        chosen, refused = _place(wanted, host, free, find_variants(name, wanted, catalog), current)
        rejections += refused
        services.append(_service(wanted, spec, name, chosen, current))
        free = [gpu for gpu in free if gpu not in chosen.gpus]
    return Plan(host=name, driver=driver, services=tuple(services), rejections=tuple(rejections))
