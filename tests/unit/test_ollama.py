"""Ollama: llama.cpp's memory, with a default, sentences and files of its own."""

from __future__ import annotations

import pytest

from hermeion.engines import llamacpp, ollama
from hermeion.engines.protocol import Engine, Layout, Load
from hermeion.engines.tables import table, versions
from hermeion.errors import InventoryError
from hermeion.hosts import Gpu
from hermeion.memory.kv_cache import KvPrecision
from hermeion.planner import make_plan
from hermeion.plans import Service
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Shape
from hermeion.units import MIB
from hermeion.variants import Variant
from tests.unit.builders import L40S, NAME, ROOT, make_probe, make_spec

LOGS = ROOT / "tests/unit/data/logs"
ENGINE: Engine = ollama  # mypy compares the module with the protocol

LLAMA_8B = Shape(
    layers=32, hidden=4096, intermediate=14336, heads=32, kv_heads=8, head_dim=128, vocab=128256, max_context=131072
)


def make_gpu(capability: tuple[int, int] = (8, 9)) -> Gpu:
    """An RTX 4090 that nobody else uses, of any compute capability."""
    return Gpu(
        pci_address="0000:17:00.0",
        uuid=None,
        model="NVIDIA GeForce RTX 4090",
        memory=24564 * MIB,
        cuda=24094 * MIB,
        free=24564 * MIB,
        architecture="any",
        compute_capability=capability,
    )


def make_variant(precision: str = "q4_k_m", files: tuple[str, ...] = ("model-Q4_K_M.gguf",)) -> Variant:
    """Hermes 3 8B in a precision."""
    return Variant(
        name=f"model-{precision}",
        model="model",
        repo="a/b",
        revision=None,
        precision=precision,
        bytes=4_920_734_272,
        shape=LLAMA_8B,
        files=files,
    )


@pytest.mark.parametrize(
    "capability", [(3, 7), (5, 0), (6, 1), (7, 0), (7, 5), (8, 0), (8, 9), (9, 0), (10, 0), (12, 0)]
)
@pytest.mark.parametrize("precision", sorted(PRECISIONS))
def test_acceptance(precision: str, capability: tuple[int, int]) -> None:
    """GGUF files of every precision are loaded from compute capability 5.0 on, and nothing else anywhere."""
    refused = ollama.accepts(make_variant(precision), [make_gpu(capability)])
    is_gguf = PRECISIONS[precision].container == "gguf"

    assert (is_gguf and capability >= (5, 0)) == (refused is None)


@pytest.mark.parametrize(
    ("precision", "capability", "reason"),
    [
        ("q4_k_m", (3, 7), "compute capability 3.7 is older than Ollama's minimum of 5.0"),
        ("fp8", (9, 0), "Ollama reads GGUF files alone; model-fp8 is fp8 in safetensors"),
    ],
)
def test_reasons(precision: str, capability: tuple[int, int], reason: str) -> None:
    """Every refusal is one sentence with what it is about."""
    assert reason == ollama.accepts(make_variant(precision), [make_gpu(capability)])


NO_KEYS = "Ollama knows no keys: whoever reaches its port can use the model, and delete it until the next start"


@pytest.mark.parametrize(
    ("capability", "count", "expected"),
    [
        ((8, 9), 1, (NO_KEYS,)),
        ((7, 0), 1, (NO_KEYS,)),
        ((6, 1), 1, (NO_KEYS, "compute capability 6.1 needs driver 570 or newer with Ollama's image")),
        (
            (5, 2),
            2,
            (
                "layers are split over 2 GPUs: one request is no faster than on one GPU",
                NO_KEYS,
                "compute capability 5.2 needs driver 570 or newer with Ollama's image",
            ),
        ),
    ],
)
def test_remarks(capability: tuple[int, int], count: int, expected: tuple[str, ...]) -> None:
    """A person hears of split layers, of the missing keys, and of an old GPU's driver."""
    assert expected == ollama.remarks(make_variant(), [make_gpu(capability)] * count)


def test_thinking_is_the_services() -> None:
    """A person hears that a request cannot switch thinking as it can with the other engines."""
    variant = make_variant().model_copy(update={"thinking_switch": "thinking"})

    assert (
        "with Ollama the service decides whether the model thinks (thinking): a request can do so by the card's system "
        "prompt alone"
    ) == ollama.remarks(variant, [make_gpu()])[-1]


@pytest.mark.parametrize(
    "files",
    [
        ("model-Q4_K_M-00001-of-00002.gguf", "model-Q4_K_M-00002-of-00002.gguf"),
        ("q/model-Q4_K_M-00001-of-00002.gguf",),
        ("q/*.gguf",),
        ("model-Q4_K_M-*.gguf",),
    ],
)
def test_files_in_parts_are_refused(files: tuple[str, ...]) -> None:
    """llama-server finds the parts by their names, and Ollama keeps files under names of its own."""
    assert (
        "Ollama reads a GGUF file in one piece, and model-q4_k_m comes in parts; llama.cpp reads those"
    ) == ollama.accepts(make_variant(files=files), [make_gpu()])


def test_one_request_if_nobody_says() -> None:
    """`OLLAMA_NUM_PARALLEL` is 1."""
    assert 1 == ollama.default_sequences([make_gpu()])


@pytest.mark.parametrize("kv", ["bf16", "q8_0"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("sequences", [1, 4])
def test_memory_is_llama_cpps(kv: KvPrecision, count: int, sequences: int) -> None:
    """Ollama starts llama-server, and so needs what llama-server needs."""
    variant, gpus, load = make_variant(), [make_gpu()] * count, Load(8192, sequences, kv)
    layout = Layout(1, count)

    assert (
        llamacpp.budget(variant, gpus, layout, load),
        llamacpp.kv_needed(variant, (), layout, load),
        llamacpp.kv_precisions(gpus),
        llamacpp.is_native(variant, gpus),
    ) == (
        ollama.budget(variant, gpus, layout, load),
        ollama.kv_needed(variant, (), layout, load),
        ollama.kv_precisions(gpus),
        ollama.is_native(variant, gpus),
    )


@pytest.mark.parametrize(
    ("count", "expected"), [(2, Layout(1, 2)), (33, "32 layers cannot be split over 33 GPUs; 1 to 32 work")]
)
def test_layout(count: int, expected: Layout | str) -> None:
    """Any number of GPUs works up to the number of layers."""
    assert expected == ollama.layout(make_variant(), count)


def test_constants() -> None:
    """The image is named as Ollama publishes it, and 0.33.3 is the newest that is known."""
    assert ("ollama", "Ollama", "ollama/ollama:0.33.3", 550, versions("ollama")) == (
        ollama.NAME,
        ollama.LABEL,
        ollama.IMAGE.format(version=ollama.VERSIONS[-1]),
        ollama.MIN_DRIVER,
        ollama.VERSIONS,
    )


FOUR = {"name": "hermes", "model": "hermes-4-14b", "variant": "q5_k_m", "engine": "ollama"}


def service_of(*, there: int = 1, **changes: object) -> Service:
    """A planned service of Ollama; Hermes 4 14B unless said otherwise."""
    return make_plan(NAME, make_spec(FOUR | changes), make_probe((L40S,) * there)).services[0]


@pytest.mark.parametrize("gpus", [1, 2])
def test_environment(gpus: int) -> None:
    """What is planned is what Ollama and llama-server are told: nothing is left for them to find out at the start."""
    service = service_of(there=gpus, gpus=gpus, context=8192, sequences=3)
    spread = {"LLAMA_ARG_SPLIT_MODE": "layer", "LLAMA_ARG_TENSOR_SPLIT": "1,1", "OLLAMA_SCHED_SPREAD": "1"}

    assert {
        "HOME": "/var/cache/engine",
        "LLAMA_ARG_CHAT_TEMPLATE_KWARGS": '{"thinking": false}',
        "LLAMA_ARG_FIT": "off",
        "LLAMA_ARG_N_GPU_LAYERS": "all",
        "OLLAMA_CONTEXT_LENGTH": "8192",
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_GO_TEMPLATE": "0",
        "OLLAMA_HOST": "0.0.0.0:11434",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_KV_CACHE_TYPE": "f16",
        "OLLAMA_LOAD_TIMEOUT": f"{service.start_seconds}s",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_MODELS": "/var/cache/engine/models",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NUM_PARALLEL": "3",
        **(spread if gpus == 2 else {}),
    } == service.environment


def test_environment_natively() -> None:
    """Without a container it listens on the host's own loopback, and its home is a folder that systemd makes."""
    archive = {"url": "https://example.com/ollama.tgz", "sha256": "ab" * 32}
    environment = service_of(runtime="systemd", archive=archive, port=8123, thinking=True).environment

    assert ("127.0.0.1:8123", "/var/cache/hermeion-hermes", '{"thinking": true}') == (
        environment["OLLAMA_HOST"],
        environment["HOME"],
        environment["LLAMA_ARG_CHAT_TEMPLATE_KWARGS"],
    )


def test_more_variables() -> None:
    """``extra_args`` are more of Ollama's variables; a switch is 0 or 1."""
    environment = service_of(extra_args={"OLLAMA_MAX_QUEUE": 3, "OLLAMA_DEBUG": True}).environment

    assert ("3", "1") == (environment["OLLAMA_MAX_QUEUE"], environment["OLLAMA_DEBUG"])


@pytest.mark.parametrize("name", sorted(ollama.PLANNED))
def test_planned_variables_are_ollamas(name: str) -> None:
    """What extra_args may not set is in the list of the release, spelled as there."""
    option = table("ollama", ollama.VERSIONS[-1]).find(name)

    assert option
    assert name == option.name


def test_card_alone_decides_sampling() -> None:
    """What Hermes 4's card does not say is neutral, not Ollama's own default (repeat_penalty 1.1, top_k 40 …)."""
    assert {
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
    } == service_of().config["parameters"]


def test_name_that_ollama_has_not() -> None:
    """A served name that Ollama would not take is refused while planning, by name."""
    with pytest.raises(InventoryError, match=r"^hermes: 'gpt@4' is no name of a model for Ollama, which wants MODEL"):
        service_of(served_names=["gpt@4"])


def test_log_is_llama_servers() -> None:
    """Ollama passes on what llama-server says, without prefixes; the last start counts."""
    own = 'time=2026-11-21T17:00:00Z level=INFO source=llama_server.go:415 msg="starting llama-server" cmd="…"\n'
    said = (LOGS / "llamacpp-serving-unified.txt").read_text()
    oom = own + "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9.50 MiB on device 1: cudaMalloc failed: "

    assert (16128, 16515072, 4096, None) == (
        ollama.read_log(own + said).kv_tokens,
        ollama.read_log(own + said).kv_bytes,
        ollama.read_log(own + said).context,
        ollama.read_log(oom + "out of memory\n" + own + said).failure,
    )


def test_taken_port() -> None:
    """Go's words for a taken port become a sentence with the key that helps."""
    log = "Error: listen tcp 127.0.0.1:8000: bind: address already in use\n"

    assert "127.0.0.1:8000 is taken: set another port, or stop who listens there" == ollama.read_log(log).failure
