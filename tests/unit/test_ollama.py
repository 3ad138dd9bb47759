"""Ollama: llama.cpp's memory, with a default, sentences and files of its own."""

from __future__ import annotations

import pytest

from hermeion.engines import llamacpp, ollama
from hermeion.engines.protocol import Engine, Layout, Load
from hermeion.hosts import Gpu
from hermeion.memory.kv_cache import KvPrecision
from hermeion.precisions import PRECISIONS
from hermeion.shapes import Shape
from hermeion.units import MIB
from hermeion.variants import Variant

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


@pytest.mark.parametrize(
    ("files", "capability", "count", "expected"),
    [
        (("model-Q4_K_M.gguf",), (8, 9), 1, ()),
        (
            ("model-Q4_K_M-00001-of-00002.gguf", "model-Q4_K_M-00002-of-00002.gguf"),
            (8, 9),
            1,
            ("Ollama merges the parts of the GGUF file into a new file: the weights are on the disk twice",),
        ),
        (
            ("model-Q4_K_M.gguf",),
            (6, 1),
            1,
            ("compute capability 6.1 needs driver 570 or newer with Ollama's image",),
        ),
        (("model-Q4_K_M.gguf",), (7, 0), 1, ()),
        (
            ("q/model-Q4_K_M-00001-of-00002.gguf",),
            (5, 2),
            2,
            (
                "layers are split over 2 GPUs: one request is no faster than on one GPU",
                "compute capability 5.2 needs driver 570 or newer with Ollama's image",
                "Ollama merges the parts of the GGUF file into a new file: the weights are on the disk twice",
            ),
        ),
    ],
)
def test_remarks(files: tuple[str, ...], capability: tuple[int, int], count: int, expected: tuple[str, ...]) -> None:
    """A person hears of split layers, of an old GPU's driver, and of files that are written once more."""
    assert expected == ollama.remarks(make_variant(files=files), [make_gpu(capability)] * count)


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
    """The image is named as Ollama publishes it, and this release does not start it."""
    assert ("ollama", "Ollama", "ollama/ollama:0.33.3", 550, False) == (
        ollama.NAME,
        ollama.LABEL,
        ollama.IMAGE.format(version=ollama.VERSIONS[-1]),
        ollama.MIN_DRIVER,
        ollama.RUNNABLE,
    )
