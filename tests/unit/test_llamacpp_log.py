"""What llama-server's log tells: recorded of build 11669 with the lab's tiny model, or quoted where a GPU failed."""

from __future__ import annotations

import pytest

from hermeion.engines.llamacpp_log import read_log
from hermeion.engines.protocol import Said
from tests.unit.builders import ROOT

LOGS = ROOT / "tests/unit/data/logs"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Two slots of 8192 tokens, of which the model was made for 4096.
        ("serving", Said(kv_tokens=8192, context=4096)),
        # 8192 cells for each of two requests, 2 × 2 layers × 128 × 34/32 bytes each: 8.50 MiB. Weights: 1.76 MiB.
        ("serving-trace", Said(kv_tokens=16384, kv_bytes=8912896, weights_bytes=1845494, context=4096)),
        ("serving-unified", Said(kv_tokens=16128, kv_bytes=16515072, weights_bytes=1845494, context=4096)),
        (
            "no-file",
            Said(
                failure="/models/none.gguf cannot be opened (No such file or directory): check variant, and in "
                "hermes_catalog path and files"
            ),
        ),
        (
            "cut-off",
            Said(
                failure="the GGUF file is cut off (blk.0.ffn_gate.weight lies beyond its end): remove it from "
                "hermes_cache, or from its folder (path), and deploy again"
            ),
        ),
        (
            "no-gguf",
            Said(
                failure="the file is no GGUF file, or a damaged one: remove it from hermes_cache, or from its folder "
                "(path), and deploy again"
            ),
        ),
        (
            "architecture",
            Said(
                failure="this build does not know the architecture 'lxama': set a newer engine_version, or another "
                "variant"
            ),
        ),
        (
            "port",
            Said(failure="port 8080 of 127.0.0.1 is taken: set another port, or stop who listens there (ss -ltnp)"),
        ),
        (
            "argument",
            Said(
                failure="this build does not know --no-such-option: remove it from extra_args, or set another "
                "engine_version"
            ),
        ),
        (
            "value",
            Said(
                failure="it does not take the value of cache-type-k (Unsupported cache type: fp8): correct it in "
                "extra_args"
            ),
        ),
        (
            "no-keys",
            Said(
                failure="its keys cannot be read: see that /etc/hermeion/<service>/api-keys is root's and holds a key, "
                "and deploy again"
            ),
        ),
    ],
)
def test_recorded_logs(name: str, expected: Said) -> None:
    """Every recorded log is read as it was meant; a start that serves has no failure."""
    assert expected == read_log((LOGS / f"llamacpp-{name}.txt").read_text())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # Issue texts of llama.cpp's users: no GPU was there to record them on.
        (
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 13285.50 MiB on device 0: cudaMalloc failed: out "
            "of memory",
            "GPU 0 has no 13285.50 MiB left: see with nvidia-smi who else uses it, lower context or sequences, or "
            "raise gpus",
        ),
        (
            "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
            "a GPU has too little free memory: see with nvidia-smi who else uses it, lower context or sequences, or "
            "raise gpus",
        ),
        (
            "ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime version",
            "the NVIDIA driver is too old for the CUDA of this build: set upgrade in hermes_driver, or an image or "
            "archive that is built on an older CUDA",
        ),
        (
            "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected",
            "CUDA does not start (no CUDA-capable device is detected), and it would go on without GPUs: see with "
            "nvidia-smi whether the driver answers",
        ),
    ],
)
def test_failures_of_gpus(line: str, expected: str) -> None:
    """Lines of GPUs that fail become a sentence with the key that helps."""
    assert expected == read_log(f"0.00.100.000 E {line}\n").failure


def test_gpus_before_the_host() -> None:
    """Of weights and cache the GPU that has most counts, not the part that stays in a mapped file."""
    log = (
        "load_tensors:   CPU_Mapped model buffer size =  9999.00 MiB\n"
        "load_tensors:        CUDA0 model buffer size =  2.00 MiB\n"
        "load_tensors:        CUDA1 model buffer size =  3.00 MiB\n"
        "llama_kv_cache:      CUDA0 KV buffer size =  5.00 MiB\n"
        "llama_kv_cache:      CUDA1 KV buffer size =  4.00 MiB\n"
    )

    assert (3 * 1024**2, 5 * 1024**2) == (read_log(log).weights_bytes, read_log(log).kv_bytes)


def test_the_last_start_counts() -> None:
    """A failure of an earlier start is not told of one that serves, and the other way round."""
    good, bad = ((LOGS / f"llamacpp-{name}.txt").read_text() for name in ("serving", "port"))

    assert (None, None, 4096) == (
        read_log(bad + good).failure,
        read_log(good + bad).context,
        read_log(bad + good).context,
    )


def test_nothing_in_it() -> None:
    """An empty log tells nothing."""
    assert Said() == read_log("")
