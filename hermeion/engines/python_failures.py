"""Ways in which vLLM and SGLang fail alike: CUDA, PyTorch, the compilers and the files underneath them."""

from __future__ import annotations

from hermeion.engines.failures import Failure

PYTHON_FAILURES: tuple[Failure, ...] = (
    Failure(
        r"no kernel image is available for execution on the device",
        "this build has no code for the GPU's compute capability: set another engine_version, or engine = 'llamacpp'",
    ),
    Failure(
        r"(?:The NVIDIA driver on your system is too old \(found version (?P<a>\d+)\)|"
        r"CUDA driver version is insufficient for CUDA runtime version|Error 803: system has unsupported)",
        "the NVIDIA driver is too old for the CUDA of this build: set upgrade in hermes_driver, or an older "
        "engine_version",
    ),
    Failure(
        r"(?:Found no NVIDIA driver on your system|No CUDA GPUs are available|libcuda\.so\.1: cannot open shared)",
        "the engine sees no GPU: see with nvidia-smi whether the driver answers, and deploy again",
    ),
    Failure(
        r"CUDA out of memory\. Tried to allocate (?P<a>[\d.]+ [KMG]iB)",
        "a GPU has no {a} left: see with nvidia-smi who else uses it, lower sequences or context, or raise gpus",
    ),
    Failure(
        r"(?:CUDA out of memory|CUDA error: out of memory|NCCL error.*[Oo]ut of memory)",
        "a GPU has too little free memory: see with nvidia-smi who else uses it, lower sequences or context, or raise "
        "gpus",
    ),
    Failure(
        r"fatal error: Python\.h: No such file",
        "the headers of Python are missing, with which kernels are compiled at the start (Debian: python3-dev): deploy "
        "again, or set runtime = 'compose'",
    ),
    Failure(
        r"(?:Failed to find C compiler|No working C\+\+ compiler|command '?(?:gcc|cc)'? failed: No such file)",
        "a C compiler is missing, with which kernels are compiled at the start (Debian: gcc): deploy again, or set "
        "runtime = 'compose'",
    ),
    Failure(
        r"(?:Could not find nvcc|nvcc(?:: command)? not found|No such file or directory: '(?:\S*/)?nvcc')",
        "CUDA's compiler nvcc is missing, which a kernel of this model is compiled with: set runtime = 'compose'",
    ),
    Failure(
        r"No such file or directory: '(?:\S*/)?ninja'",
        "ninja is missing, with which kernels are compiled at the start: deploy again, or set runtime = 'compose'",
    ),
    Failure(
        r"model type `(?P<a>[^`]+)` but Transformers does not recognize this architecture",
        "this version does not know the model type {a}: set a newer engine_version",
    ),
    Failure(
        r"Model architectures \['(?P<a>[^']+)'\] are not supported",
        "this version does not know the architecture {a}: set a newer engine_version",
    ),
    Failure(
        r"(?:SafetensorError|Error while deserializing header): *(?P<a>[^\n]+)",
        "a file of the weights is damaged or cut off ({a}): remove it from hermes_cache, or from its folder (path), "
        "and deploy again",
    ),
    Failure(
        r"Cannot find any model weights with `(?P<a>[^`\n]+)`",
        "no weights lie in {a}: deploy again, or check path in hermes_catalog",
    ),
    Failure(
        r"(?:LocalEntryNotFoundError|OfflineModeIsEnabled|cannot find the requested files in the local cache)",
        "a file of the model is not in the cache, and the engine asks nobody for it: deploy again, and check what else "
        "the model needs (extra_args)",
    ),
    Failure(
        r"(?:\[Errno 98\]|OSError: .*)[^\n]*[Aa]ddress already in use",
        "the port is taken: set another port, or stop who listens there (ss -ltnp)",
    ),
    Failure(
        r"error: (?:ambiguous option: |argument )(?P<a>[^\s:]+):? (?P<b>[^\n]+)",
        "it does not take the value of {a} ({b}): correct it in extra_args",
    ),
    Failure(
        r"error: unrecognized arguments: (?P<a>[^\n]+)",
        "this version does not know {a}: remove it from extra_args, or set another engine_version",
    ),
)
"""The most telling first. PyTorch 2.13, transformers 5.19 and huggingface_hub 1.x have these words."""
