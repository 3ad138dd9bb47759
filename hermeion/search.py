"""The ladder of options for one service: engines, variants, GPUs and settings, with the reason of each not taken.

For each variant, the most precise first, the rungs are: more GPUs, an FP8 KV cache, less context, fewer requests at the
same time; then the next variant. Only where none of an engine's variants fits, the next round's engine is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from hermeion.candidates import (
    COMFORTABLE_CONTEXT,
    CONTEXT_STEP,
    FEWEST_SEQUENCES,
    LEAST_CONTEXT,
    SHARE_FREE,
    USEFUL_CONTEXT,
    Candidate,
    Floor,
    option_text,
    with_engine,
)
from hermeion.engines.options import option_remarks, version_of, version_remark
from hermeion.engines.protocol import Engine, Layout, Load
from hermeion.gpu_sets import GpuSet, gpu_sets
from hermeion.hosts import Gpu, Host
from hermeion.inventory import ServiceSpec
from hermeion.memory.kv_cache import KvPrecision, longest_context
from hermeion.plans import MemoryBudget, Rejection, Service
from hermeion.rounds import Pair
from hermeion.units import format_bytes
from hermeion.variants import Variant


@dataclass(slots=True)
class Search:
    """One service on one host's free GPUs. Options are tried once each and remembered with their reason."""

    spec: ServiceSpec
    host: Host
    free: Sequence[Gpu]
    current: Service | None = None
    leave: int = 0
    rejections: dict[str, Rejection] = field(default_factory=dict)
    _sets: list[GpuSet] | None = None
    _hopeless: set[tuple[object, ...]] = field(default_factory=set)
    _known: dict[tuple[object, ...], Candidate | None] = field(default_factory=dict)

    @property
    def tried(self) -> list[Candidate]:
        """Every option that holds some context, even if too little of it."""
        return [candidate for candidate in self._known.values() if candidate]

    def reject(self, option: str, reason: str, needed: int | None = None, available: int | None = None) -> None:
        """Remember why an option was not taken."""
        self.rejections[option] = Rejection(
            service=self.spec.name, option=option, reason=reason, needed=needed, available=available
        )

    def _all_sets(self) -> list[GpuSet]:
        """The sets of GPUs that the inventory allows, fewest first; the GPUs that it names are one set."""
        if self._sets is None:
            wanted = self.spec.gpus
            if isinstance(wanted, tuple):
                named = tuple(sorted((gpu for gpu in self.free if gpu.uuid in wanted), key=lambda gpu: gpu.pci_address))
                self._sets = [named] if len(named) == len(set(wanted)) else []
            else:
                most = max(1, len(self.free) - self.leave)
                counts = list(range(1, most + 1)) if wanted == "auto" else [int(wanted)]
                serving = frozenset(gpu.pci_address for gpu in self.current.gpus) if self.current else frozenset[str]()
                self._sets = gpu_sets(self.host, self.free, counts, current=serving, share=SHARE_FREE)
        return self._sets

    def sets(self, engine: Engine, variant: Variant) -> list[list[GpuSet]]:
        """The sets of GPUs to try, fewest first: those over which layers split, and those that need a pipeline."""
        sets = self._all_sets()
        if not sets:
            wanted = self.spec.gpus
            if isinstance(wanted, tuple):
                self.reject(f"{variant.name} on the GPUs named", _not_named(self.free))
            else:
                where = "any GPU" if wanted == "auto" else f"{wanted} GPUs"
                self.reject(f"{variant.name} on {where}", _too_few(self.free, wanted))
        if engine.DIVIDES_CACHE:
            # So many files on so many numbers of GPUs: where not even the file fits, one line says it.
            roomy = [gpus for gpus in sets if sum(gpu.memory for gpu in gpus) >= variant.bytes]
            return [roomy or sets[-1:]] if sets else []
        whole = [gpus for gpus in sets if not _is_pipeline(engine, variant, gpus)]
        return [group for group in (whole, [gpus for gpus in sets if gpus not in whole]) if group]

    def try_option(
        self, engine: Engine, variant: Variant, gpus: GpuSet, kv: KvPrecision, sequences: int, floor: Floor
    ) -> Candidate | None:
        """The longest context up to the wanted one, or ``None`` and a remembered reason."""
        key = (*_place(engine, variant, gpus), kv, sequences, floor.wanted)
        if key not in self._known:
            self._known[key] = self._evaluate(engine, variant, gpus, kv, sequences, floor)
        return self._known[key]

    def _evaluate(
        self, engine: Engine, variant: Variant, gpus: GpuSet, kv: KvPrecision, sequences: int, floor: Floor
    ) -> Candidate | None:
        option = option_text(variant, gpus, kv, sequences, engine.default_sequences(gpus), engine)
        place = _place(engine, variant, gpus)
        layout = engine.layout(variant, len(gpus))
        longest = variant.shape.max_context
        reason = engine.accepts(variant, gpus) or (layout if not isinstance(layout, Layout) else None)
        if not reason and floor.wanted > longest:
            reason = f"the model was made for {longest} tokens of context, {floor.wanted} are wanted"
        if reason or not isinstance(layout, Layout):
            self._hopeless.add(place)
            self.reject(option, str(reason))
            return None
        version = version_of(self.spec, engine)
        load = Load(floor.wanted, sequences, kv)
        memory = engine.budget(variant, gpus, layout, load, version)

        def budget(context: int) -> MemoryBudget:
            if not engine.DIVIDES_CACHE:
                return memory
            return engine.budget(variant, gpus, layout, load._replace(context=context), version)

        for gpu in gpus:
            if gpu.free < gpu.memory * SHARE_FREE:
                self._hopeless.add(place)
                self.reject(
                    option,
                    f"others hold {format_bytes(gpu.memory - gpu.free)} of the memory of "
                    f"{gpu.uuid or gpu.pci_address}; a GPU of which others hold more than a tenth is left to them",
                    round(gpu.memory * SHARE_FREE),
                    gpu.free,
                )
                return None
        needed = memory.fixed + memory.margin + engine.kv_needed(variant, gpus, layout, load)
        least = budget(min(floor.wanted, CONTEXT_STEP))
        if least.kv_cache + least.activations <= 0:
            self._hopeless.add(place)  # fewer requests need less for activations, and for nothing else
        if least.kv_cache <= 0:
            self.reject(
                option,
                f"weights and overhead need {format_bytes(least.fixed + least.margin)} per GPU, "
                f"{format_bytes(least.usable)} may be used",
                needed,
                memory.usable,
            )
            return None

        def holds(context: int) -> bool:
            cache = engine.kv_needed(variant, gpus, layout, load._replace(context=context))
            return cache <= least.kv_cache and cache <= budget(context).kv_cache

        fits = longest_context(floor.wanted, holds, CONTEXT_STEP)
        if fits < floor.wanted:
            self.reject(
                option,
                f"the largest context that fits is {fits} tokens, {floor.wanted} are wanted",
                needed,
                memory.usable,
            )
        if fits <= 0:
            return None
        load = load._replace(context=fits)
        remarks = (*engine.remarks(variant, gpus), *self._remarks(engine, gpus, layout, load))
        return Candidate(engine, version, variant, gpus, layout, load, budget(fits), option, remarks)

    def _remarks(self, engine: Engine, gpus: GpuSet, layout: Layout, load: Load) -> Iterator[str]:
        """What was given up for this option, in sentences."""
        if layout.pipeline_parallel > 1 and not engine.DIVIDES_CACHE:
            yield f"a pipeline of {layout.pipeline_parallel} stages: one request is no faster than on one GPU"
        if load.kv_precision != "bf16" and self.spec.kv_precision == "auto":
            yield f"the KV cache is in {load.kv_precision.upper()}: in 16 bits the context would not fit"
        if self.spec.context != "max" and load.context < self.spec.context:
            yield f"{load.context} tokens of context in place of {self.spec.context}, which do not fit"
        if self.spec.sequences is None and load.sequences < (default := engine.default_sequences(gpus)):
            fewer = "1 request" if load.sequences == 1 else f"{load.sequences} requests"
            yield f"{fewer} at the same time in place of {default}, which leaves room for the context"

    def climb(
        self, engine: Engine, variant: Variant, floor: Floor, *, native: bool, whole_ladder: bool = True
    ) -> Candidate | None:
        """The first rung of the ladder on which a variant has at least the floor.

        Args:
            native: Whether to try GPUs that compute in the variant's precision, or those that only store it.
            whole_ladder: Whether the KV cache may lose precision and requests may be fewer.
        """
        groups = (
            [gpus for gpus in group if engine.is_native(variant, gpus) == native]
            for group in self.sets(engine, variant)
        )
        return _first(self._climb(engine, variant, floor, sets, whole_ladder) for sets in groups if sets)

    def _climb(
        self, engine: Engine, variant: Variant, floor: Floor, sets: Sequence[GpuSet], whole_ladder: bool
    ) -> Candidate | None:
        is_number = self.spec.context != "max"
        rungs: list[list[Candidate]] = []
        known = {gpus: self._kv_precisions(engine, gpus) for gpus in sets}
        kv_precisions = tuple(dict.fromkeys(kv for of_set in known.values() for kv in of_set))
        # An engine that divides its cache gives up requests before precision.
        divides = engine.DIVIDES_CACHE
        for fewer in _halvings(self.spec.sequences, most=8 if whole_ladder or divides else 1, divides=divides):
            for kv in kv_precisions if whole_ladder else kv_precisions[:1]:
                sets = [gpus for gpus in sets if _place(engine, variant, gpus) not in self._hopeless]
                found = [
                    candidate
                    for gpus in sets
                    if kv in known[gpus]
                    and (candidate := self.try_option(engine, variant, gpus, kv, fewer(engine, gpus), floor))
                ]
                rungs.append(found)
                whole = [candidate for candidate in found if candidate.context >= floor.wanted]
                if whole:
                    return whole[0]
                if not is_number and (best := _longest_of(found, floor.least)):
                    return best  # "max": as much as fits, without giving up precision of the cache
            # Less context comes before fewer requests.
            reduced = [candidate for rung in rungs for candidate in rung]
            if best := _longest_of(reduced, floor.least):
                return best
        return None

    def _kv_precisions(self, engine: Engine, gpus: GpuSet) -> tuple[KvPrecision, ...]:
        known = engine.kv_precisions(gpus)
        if self.spec.kv_precision == "auto":
            return known
        if self.spec.kv_precision not in known:
            major, minor = min(gpu.compute_capability for gpu in gpus)
            has = f"{known[0]} alone" if len(known) == 1 else " and ".join(known)
            self.reject(
                f"{self.spec.kv_precision.upper()} KV cache{with_engine(engine)}",
                f"{engine.LABEL} has {has} on compute capability {major}.{minor}",
            )
        return tuple(kv for kv in known if kv == self.spec.kv_precision)

    def _too_short(self, variant: Variant) -> bool:
        """Whether the model was made for less than the least context that is accepted; then it is rejected."""
        longest, least = variant.shape.max_context, self.spec.min_context or 0
        if self.spec.context == "max" and least > longest:
            reason = f"the model was made for {longest} tokens of context, at least {least} are wanted"
            self.reject(variant.name, reason)
            return True
        return False

    def find(self, rounds: Sequence[Sequence[Pair]]) -> Candidate | None:
        """The best of the first round of which anything fits, with remarks on what the engine before it lacked, and on
        the engine's version and options.
        """
        lack = ""
        for pairs in rounds:
            if found := self.best(pairs):
                engine = found.engine
                first = (f"{engine.LABEL} {lack}" if lack else None, version_remark(engine, found.version))
                said = (*filter(None, first), *found.remarks, *option_remarks(self.spec, engine))
                return replace(found, remarks=said)
            if not self._depends_on_engine(pairs):
                return None
            lack = f"in place of {pairs[0][0].LABEL}: {self._lack()}"
        return None

    def _depends_on_engine(self, pairs: Sequence[Pair]) -> bool:
        """Whether another engine might do where these do not: there are GPUs to serve on, and the context exists."""
        least = self.spec.context if self.spec.context != "max" else self.spec.min_context or 0
        idle = (all(gpu.free >= gpu.memory * SHARE_FREE for gpu in gpus) for gpus in self._all_sets())
        return any(variant.shape.max_context >= least for _, variant in pairs) and any(idle)

    def _lack(self) -> str:
        """Why nothing fits: the reason of the option that came closest, or the one that all of them have."""
        tried = list(self.rejections.values())
        counted = [r for r in tried if r.needed is not None and r.available is not None]
        closest = min(counted or tried, key=lambda r: (r.needed or 0) - (r.available or 0))
        if not counted and len({rejection.reason for rejection in tried}) == 1:
            return closest.reason
        return f"{closest.reason} ({closest.option})"

    def best(self, pairs: Sequence[Pair]) -> Candidate | None:
        """The first variant, most precise first, that has what is wanted; native precisions before stored ones.

        Of GGUF files, which many people publish in the same precision, those of the model's own makers come first.
        """
        possible = [(e, v) for e, v in pairs if not self._too_short(v)]
        ordered = [(e, v, native) for native in (True, False) for e, v in possible]
        ordered.sort(key=lambda choice: choice[1].format.container == "gguf" and not choice[1].official)
        if self.spec.context != "max":
            wanted = self.spec.context
            floor = Floor(wanted, min(self.spec.min_context or wanted, wanted))
            return _first(self.climb(e, v, floor, native=native) for e, v, native in ordered)
        whole = self.spec.min_context is not None
        for e, v, native in ordered:
            floor = Floor(v.shape.max_context, min(self.spec.min_context or COMFORTABLE_CONTEXT, v.shape.max_context))
            if found := self.climb(e, v, floor, native=native, whole_ladder=whole):
                return found
        # No variant is comfortable: the one with the longest context that is still accepted.
        found_all: list[Candidate] = []
        for e, v, native in ordered:
            longest = v.shape.max_context
            found = None
            if e.DIVIDES_CACHE and self.spec.min_context is None:
                useful = Floor(longest, min(USEFUL_CONTEXT, longest))
                found = self.climb(e, v, useful, native=native, whole_ladder=False)
            least = Floor(longest, min(self.spec.min_context or LEAST_CONTEXT, longest))
            if found := found or self.climb(e, v, least, native=native):
                found_all.append(found)
        return max(found_all, key=lambda c: c.context, default=None)


def _place(engine: Engine, variant: Variant, gpus: GpuSet) -> tuple[object, ...]:
    return (engine.NAME, variant.name, *(gpu.pci_address for gpu in gpus))


def _is_pipeline(engine: Engine, variant: Variant, gpus: GpuSet) -> bool:
    layout = engine.layout(variant, len(gpus))
    return not isinstance(layout, Layout) or layout.pipeline_parallel > 1


def _first(candidates: Iterator[Candidate | None]) -> Candidate | None:
    return next((candidate for candidate in candidates if candidate), None)


def _longest_of(candidates: Sequence[Candidate], least: int) -> Candidate | None:
    """The longest context of at least ``least`` tokens; among equals the first."""
    enough = [candidate for candidate in candidates if candidate.context >= least]
    return max(enough, key=lambda candidate: candidate.context, default=None)


def _halvings(wanted: int | None, most: int, *, divides: bool) -> Iterator[Callable[[Engine, GpuSet], int]]:
    """The wanted number of requests; or the engine's default, and then less and less."""
    if wanted is not None:
        yield lambda _engine, _gpus: wanted
        return
    for power in range(most):

        def sequences(engine: Engine, gpus: GpuSet, power: int = power) -> int:
            default = engine.default_sequences(gpus)
            return max(1 if divides else min(default, FEWEST_SEQUENCES), default >> power)

        yield sequences


def _not_named(free: Sequence[Gpu]) -> str:
    if any(gpu.uuid is None for gpu in free):
        return "GPUs are named by UUID, which only a driver tells: use a number or 'auto' for the first run"
    return "not all of the GPUs named are here and free"


def _too_few(free: Sequence[Gpu], wanted: object) -> str:
    if not free:
        return "no GPU is free"
    models = sorted({gpu.model for gpu in free})
    there = ", ".join(f"{sum(1 for gpu in free if gpu.model == model)} × {model}" for model in models)
    return f"{wanted} GPUs of one model are wanted, free are {there}"
