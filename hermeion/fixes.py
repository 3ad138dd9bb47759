"""What would fit instead: every refusal names a change that was planned again, and fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hermeion.candidates import Candidate
from hermeion.engines import ENGINES
from hermeion.gpu_sets import describe
from hermeion.gpus import gpu_models
from hermeion.hosts import Host, gpus_of
from hermeion.inventory import ServiceSpec
from hermeion.records import Record
from hermeion.search import Search, pairs_for
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

Changes = dict[str, str | int | None]
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
    return Search(spec, search.host, search.free, search.current, search.leave).best(pairs_for(spec, variants))


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


def _engine(spec: ServiceSpec, name: str) -> Changes:
    """Another engine, which has versions of its own."""
    return {"engine": name, "engine_version": None} if spec.engine_version else {"engine": name}


def _startable(spec: ServiceSpec, search: Search, variants: Sequence[Variant]) -> Iterator[Changes]:
    """Changes to the inventory that may help and that this release can start, those that cost the user least first."""
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
    if spec.engine != "auto":
        for name in (name for name, engine in ENGINES.items() if spec.engine != name and engine.RUNNABLE):
            yield _engine(spec, name)
    for variant in variants:
        if variant.format.container == "safetensors" and variant.name != spec.variant:
            yield {"variant": variant.name}
    if bare := _without_limits(spec):
        yield bare


def _plannable(spec: ServiceSpec, variants: Sequence[Variant]) -> Iterator[Changes]:
    """Other engines, which this release plans and does not start."""
    if spec.engine == "auto":
        for name, engine in ENGINES.items():
            if not engine.RUNNABLE:
                yield from ({**_engine(spec, name), "variant": variant.name} for variant in variants)


def _without_limits(spec: ServiceSpec) -> Changes:
    """The wish for the model alone, whatever of it can be had."""
    defaults = {key: ServiceSpec.model_fields[key].default for key in LIMITS}
    return {key: default for key, default in defaults.items() if getattr(spec, key) != default}


def _wider(spec: ServiceSpec) -> Iterator[Changes]:
    """Changes that go with other hardware, those that cost the user least first."""
    engines = [name for name, engine in ENGINES.items() if spec.engine != "auto" or not engine.RUNNABLE]
    others = [_engine(spec, name) for name in engines if name != spec.engine]
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


LATER = "; this release plans that and does not start it yet"


def _later(found: Candidate) -> str:
    return "" if found.engine.RUNNABLE else LATER


def _on_this_host(
    spec: ServiceSpec, changes: Changes, search: Search, variants: Sequence[Variant], model: Sequence[Variant]
) -> Fix | None:
    found = _search(_changed(spec, changes), search, _allowed(changes, variants, model))
    if not found:
        return None
    where = f"{found.variant.name} on {describe(found.gpus)}, {found.context} tokens{_later(found)}"
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
            if found := search.best(pairs_for(anything, allowed)):
                with_changes = f", and {_words(needed)}" if needed else ""
                return Fix(
                    text=f"{count} × {name}, all memory free{with_changes}: {found.variant.name}, {found.context} "
                    f"tokens{_later(found)}",
                    changes=needed,
                    gpus=(count, name),
                )
    return None


def find_fix(
    spec: ServiceSpec, host: Host, search: Search, variants: Sequence[Variant], model: Sequence[Variant]
) -> Fix | None:
    """The first change with which the service fits: to the inventory, else to the host, else to both.

    What this release can start comes first; another engine on the same host is told beside other hardware.

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
        search.best(pairs_for(spec, variants))
    for changes in _startable(spec, search, model):
        fix = _on_this_host(spec, {**first, **changes}, search, variants, model)
        if fix and (spec.engine != "auto" or not fix.text.endswith(LATER)):
            return fix
    other = (_on_this_host(spec, {**first, **changes}, search, variants, model) for changes in _plannable(spec, model))
    planned = next((fix for fix in other if fix), None)
    hardware = (
        _on_other_hardware(spec, {**first, **changes}, host, _allowed(changes, variants, model))
        for changes in _wider(spec)
    )
    bought = next((fix for fix in hardware if fix), None)
    if planned and bought and not bought.text.endswith(LATER):
        return bought.model_copy(update={"text": f"{bought.text}. Or, {planned.text}"})
    return planned or bought
