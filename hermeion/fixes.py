"""What would fit instead: every refusal names a change that was planned again, and fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hermeion.candidates import Candidate
from hermeion.engines import ENGINES
from hermeion.engines.natives import archive, requirements
from hermeion.gpu_sets import describe
from hermeion.gpus import gpu_models
from hermeion.hosts import Host, gpus_of
from hermeion.inventory import ServiceSpec
from hermeion.records import Record
from hermeion.rounds import bound_keys, rounds_for
from hermeion.search import Search
from hermeion.variants import Variant

LEAST_USEFUL = 1024
"""A context below this many tokens is not offered as a fix."""

REFERENCE_MODELS = (
    "NVIDIA GeForce RTX 4090",
    "NVIDIA L40S",
    "NVIDIA A100 80GB",
    "NVIDIA H100 80GB HBM3",
    "NVIDIA H200",
    "NVIDIA B200",
    "NVIDIA B300 SXM6",
)
"""What is offered when no number of the host's own GPUs would do, smallest first; the last is the largest there is."""

LIMITS = ("context", "min_context", "sequences", "kv_precision", "gpus", "variant")
"""Keys of a service that leave the planner fewer choices."""

MACHINES = ("x86_64", "aarch64")
"""What ``uname -m`` prints on hosts with NVIDIA GPUs."""

LAST_ENGINES = ("sglang", "ollama")
"""Engines that are named where nothing else on the host helps: what they serve, vLLM and llama.cpp mostly serve too."""

Changes = dict[str, str | int | dict[str, str] | None]
"""Keys of ``hermes_services`` and their new values."""


class Fix(Record):
    """A change with which the service fits.

    Attributes:
        text: For people: a sentence without its end.
        changes: What the inventory has to say instead.
        gpus: Number and model of GPUs that the host would need, ``4 × NVIDIA L40S``, or ``None``.
    """

    text: str
    changes: Changes
    gpus: tuple[int, str] | None = None


def _search(spec: ServiceSpec, search: Search, variants: Sequence[Variant]) -> Candidate | None:
    """The same search for another wish: what later services need is left to them here too."""
    return Search(spec, search.host, search.free, search.current, search.leave).find(rounds_for(spec, variants))


def _changed(spec: ServiceSpec, changes: Changes) -> ServiceSpec:
    return spec.model_copy(update=dict(changes))


def _possible(spec: ServiceSpec, longest: int) -> Changes:
    """What has to change before anything else can help: no context is longer than the model was made for."""
    changes: Changes = {}
    if spec.context != "max" and spec.context > longest:
        changes["context"] = longest
    if spec.min_context and spec.min_context > longest:
        changes["min_context"] = longest
    return changes


def _defaults(keys: Sequence[str]) -> Changes:
    return {key: ServiceSpec.model_fields[key].default for key in keys}


def _without_binding(spec: ServiceSpec) -> Changes:
    return _defaults(bound_keys(spec))


def _runtimes(spec: ServiceSpec, changes: Changes) -> Iterator[Changes]:
    """A change of engine, and for a native service also a container: for some engines nothing is there to install."""
    if changes:
        yield changes
    if spec.runtime == "systemd":
        yield {**changes, "runtime": "compose"}


def _engines(spec: ServiceSpec) -> Iterator[Changes]:
    """Other engines that ``auto`` might take, without what is written for the one that the inventory names."""
    bound = _without_binding(spec)
    if spec.engine == "auto":
        yield from _runtimes(spec, bound)
        return
    for name in ENGINES:
        if name not in {spec.engine, *LAST_ENGINES}:
            yield from _runtimes(spec, {"engine": name, **bound})


def _last_engines(spec: ServiceSpec) -> Iterator[Changes]:
    for name in LAST_ENGINES:
        if name != spec.engine:
            yield from _runtimes(spec, {"engine": name, **_without_binding(spec)})


def _on_here(spec: ServiceSpec, search: Search, model: Sequence[Variant]) -> Iterator[Changes]:
    """Changes to the inventory that may help on this host, those that cost the user least first."""
    if spec.context != "max" or spec.min_context:
        shorter = sorted({c.context for c in search.tried if c.context >= LEAST_USEFUL}, reverse=True)
        for context in shorter:
            yield {"min_context" if spec.min_context else "context": context}
    if spec.kv_precision != "auto":
        yield {"kv_precision": "auto"}
    if spec.gpus != "auto":
        yield {"gpus": "auto"}
    if spec.sequences:
        for power in range(1, 8):
            if spec.sequences >> power:
                yield {"sequences": spec.sequences >> power}
    if spec.variant != "auto":
        yield {"variant": "auto"}
    yield from _engines(spec)
    for variant in model:
        if variant.only_by_name and variant.name != spec.variant:  # `auto` has tried all others
            yield {"variant": variant.name}
    bare = _without_limits(spec)
    if bare:
        yield bare
        yield from ({**bare, **other} for other in _engines(spec))
    for other in _last_engines(spec):
        yield other
        if bare:
            yield {**bare, **other}


def _is_gguf(named: object, model: Sequence[Variant]) -> bool:
    """Whether ``auto`` takes llama.cpp for the variant that is named, or for all that there is of the model."""
    return all(v.format.container == "gguf" for v in model if named in {"auto", v.name, v.precision})


def _whole(spec: ServiceSpec, changes: Changes, model: Sequence[Variant]) -> Changes:
    """Where another variant is another engine's under ``auto``, what is written for the one before has to go."""
    variant = changes.get("variant", spec.variant)
    if spec.engine != "auto" or _is_gguf(variant, model) == _is_gguf(spec.variant, model):
        return changes
    return {**changes, **_without_binding(spec)}


def _once(spec: ServiceSpec, changes: Iterator[Changes], model: Sequence[Variant]) -> Iterator[Changes]:
    seen: list[Changes] = []
    for change in (_whole(spec, some, model) for some in changes):
        if change not in seen:
            seen.append(change)
            yield change


def _without_limits(spec: ServiceSpec) -> Changes:
    """The wish for the model alone, whatever of it can be had."""
    return {key: default for key, default in _defaults(LIMITS).items() if getattr(spec, key) != default}


def _wider(spec: ServiceSpec) -> Iterator[Changes]:
    """Changes that go with other hardware, those that cost the user least first."""
    others = [*_engines(spec), *_last_engines(spec)]
    bare = _without_limits(spec)
    yield {}
    if spec.variant != "auto":
        yield {"variant": "auto"}
    yield from others
    if bare:
        yield bare
        yield from ({**bare, **other} for other in others)


def _allowed(changes: Changes, variants: Sequence[Variant], model: Sequence[Variant]) -> Sequence[Variant]:
    """The variants that the inventory allows once it is changed."""
    if "variant" not in changes:
        return variants
    if changes["variant"] == "auto":
        return tuple(variant for variant in model if not variant.only_by_name)
    return tuple(variant for variant in model if variant.name == changes["variant"])


def _words(changes: Changes) -> str:
    return " and ".join(f"{key} = {value!r}" for key, value in changes.items())


def _can_be_installed(spec: ServiceSpec, found: Candidate) -> bool:
    """Whether there is something to install a native service's engine from, on some machine."""
    engine, version = found.engine, found.version
    if spec.runtime == "compose":
        return True
    if engine.NATIVE == "venv":
        return bool(spec.requirements or requirements(engine.NAME, version))
    return bool(spec.archive) or any(archive(engine.NAME, version, machine) for machine in MACHINES)


def _on_this_host(
    spec: ServiceSpec, changes: Changes, search: Search, variants: Sequence[Variant], model: Sequence[Variant]
) -> Fix | None:
    changed = _changed(spec, changes)
    found = _search(changed, search, _allowed(changes, variants, model))
    if not found or not _can_be_installed(changed, found):
        return None
    where = f"{found.variant.name} on {describe(found.gpus)}, {found.context} tokens"
    return Fix(text=f"with {_words(changes)} it fits: {where}", changes=changes)


def _on_other_hardware(spec: ServiceSpec, changes: Changes, host: Host, allowed: Sequence[Variant]) -> Fix | None:
    """The fewest GPUs of the host's own kind that would hold it, else of another kind."""
    catalogue = {model.name: model for model in gpu_models().values()}
    own = sorted({gpu.model for gpu in host.gpus} & set(catalogue))
    needed: Changes = changes if spec.gpus == "auto" else {**changes, "gpus": "auto"}
    anything = _changed(spec, needed)
    smallest = min((variant.bytes for variant in allowed), default=0)
    for name in (*own, *(model for model in REFERENCE_MODELS if model not in own)):
        for count in (1, 2, 4, 8):
            if smallest > count * catalogue[name].memory:
                continue  # not even the weights
            free = gpus_of(catalogue[name], count)
            search = Search(anything, Host(name=host.name, gpus=free, nvswitch=False), free)
            found = search.find(rounds_for(anything, allowed))
            if found and _can_be_installed(anything, found):
                changed = f", and {_words(needed)}" if needed else ""
                return Fix(
                    text=f"{count} × {name}, all memory free{changed}: {found.variant.name}, {found.context} tokens",
                    changes=needed,
                    gpus=(count, name),
                )
    return None


def find_fix(
    spec: ServiceSpec, host: Host, search: Search, variants: Sequence[Variant], model: Sequence[Variant]
) -> Fix | None:
    """The first change with which the service fits: to the inventory, else to the host, else to both.

    Args:
        search: The search that found nothing.
        variants: Variants that the inventory allows.
        model: All variants of the model.
    """
    first = _possible(spec, max((variant.shape.max_context for variant in model), default=0))
    if first:
        if fix := _on_this_host(spec, first, search, variants, model):
            return fix
        spec = _changed(spec, first)
        search = Search(spec, host, search.free, search.current, search.leave)
        search.find(rounds_for(spec, variants))
    here = (
        _on_this_host(spec, {**first, **more}, search, variants, model)
        for more in _once(spec, _on_here(spec, search, model), model)
    )
    elsewhere = (
        _on_other_hardware(spec, {**first, **more}, host, _allowed(more, variants, model))
        for more in _once(spec, _wider(spec), model)
    )
    return next((fix for fixes in (here, elsewhere) for fix in fixes if fix), None)
