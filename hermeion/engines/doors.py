"""Options and environment variables that no inventory may set, whatever the plan says, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping

_TLS = "services listen on 127.0.0.1, where the gateway and the checks speak plain HTTP; TLS is the gateway's"
_OTHER_PORT = "it opens another port, which no key protects"
_ONE_HOST = "a service runs on one host, on the GPUs that the plan gives it"
_TEMPLATE = "requests could bring their own template, a program that the engine runs"
_TOOLS = "the engine would run tools for whoever sends a request"

DOORS: Mapping[str, Mapping[str, str]] = {
    "vllm": {
        "allowed-local-media-path": "requests could read files of the host",
        "data-parallel-size": _ONE_HOST,
        "device-ids": _ONE_HOST,
        "enable-sleep-mode": "whoever reaches the port could put the engine to sleep",
        "grpc": _OTHER_PORT,
        "grpc-port": _OTHER_PORT,
        "headless": "it would open no port",
        "hf-token": "weights are pulled before, and engines get no token",
        "master-addr": _ONE_HOST,
        "nnodes": _ONE_HOST,
        "node-rank": _ONE_HOST,
        "ssl-ca-certs": _TLS,
        "ssl-certfile": _TLS,
        "ssl-keyfile": _TLS,
        "tool-server": _TOOLS,
        "trust-request-chat-template": _TEMPLATE,
        "uds": "services listen on 127.0.0.1",
    },
    "sglang": {
        "base-gpu-id": _ONE_HOST,
        "dist-init-addr": _ONE_HOST,
        "dp-size": _ONE_HOST,
        "enable-custom-logit-processor": "requests could bring code (pickles) that the engine runs",
        "grpc-mode": _OTHER_PORT,
        "grpc-port": _OTHER_PORT,
        "log-level": "at `info` SGLang writes its keys into the log",
        "nnodes": _ONE_HOST,
        "node-rank": _ONE_HOST,
        "sidecar": "it starts another program beside the engine",
        "smg-grpc-mode": _OTHER_PORT,
        "ssl-ca-certs": _TLS,
        "ssl-certfile": _TLS,
        "ssl-keyfile": _TLS,
        "ssl-keyfile-password": _TLS,
        "tool-server": _TOOLS,
        "trust-request-chat-template": _TEMPLATE,
    },
    "llamacpp": {
        "agent": _TOOLS,
        "slots": "it shows the prompts of others to whoever has a key",
        "ssl-cert-file": _TLS,
        "ssl-key-file": _TLS,
        "tools": _TOOLS,
        "ui-mcp-proxy": "whoever reaches the port could reach the network behind it",
    },
    "ollama": {},
}
"""By engine and option. SGLang's ``log_level`` prints ``server_args`` at INFO, keys included (0.5.23,
``entrypoints/engine.py``); llama.cpp's SECURITY.md disclaims its tools."""

CODE = "it runs code that neither the image nor the lock holds, so that the release is not what its hash says"
CACHES = "what the engine compiles goes into the service's private folder"
WEIGHTS = "weights are pulled before the engine starts, which reads them from hermes_cache without a network"
SILENCE = "engines report to nobody"

ENVIRONMENT: Mapping[str, str] = {
    "CACHE_DIRECTORY": CACHES,
    "CREDENTIALS_DIRECTORY": "systemd sets it",
    "CUDA_VISIBLE_DEVICES": "gpus",
    "DO_NOT_TRACK": SILENCE,
    "FLASHINFER_WORKSPACE_BASE": CACHES,
    "HERMEION_RELEASE": "it names the release",
    "HF_ENDPOINT": "hermes_mirrors.hub",
    "HF_HOME": CACHES,
    "HF_HUB_CACHE": WEIGHTS,
    "HF_HUB_OFFLINE": WEIGHTS,
    "HOME": CACHES,
    "HUGGINGFACE_HUB_CACHE": WEIGHTS,
    "LD_AUDIT": CODE,
    "LD_PRELOAD": CODE,
    "LLAMA_CACHE": CACHES,
    "NVIDIA_DRIVER_CAPABILITIES": "the plan asks for what computing needs",
    "NVIDIA_VISIBLE_DEVICES": "gpus",
    "PATH": "the programs of the engine's own package come first",
    "PYTHONHOME": CODE,
    "PYTHONPATH": CODE,
    "PYTHONSTARTUP": CODE,
    "RUNTIME_DIRECTORY": "systemd sets it",
    "SGLANG_USE_MODELSCOPE": WEIGHTS,
    "TORCHINDUCTOR_CACHE_DIR": CACHES,
    "TRANSFORMERS_CACHE": WEIGHTS,
    "TRITON_CACHE_DIR": CACHES,
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "messages to the engine could carry code (pickles) that it runs",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "whoever has a key could load adapters from any path",
    "VLLM_CACHE_ROOT": CACHES,
    "VLLM_ENGINE_READY_TIMEOUT_S": "the plan computes it from the size of the weights",
    "VLLM_NO_USAGE_STATS": SILENCE,
    "VLLM_SERVER_DEV_MODE": "whoever reaches the port could stop and reset the engine, without a key",
    "VLLM_USE_MODELSCOPE": WEIGHTS,
    "XDG_CACHE_HOME": CACHES,
    "XDG_CONFIG_HOME": CACHES,
}
"""By name. ``VLLM_SERVER_DEV_MODE`` opens ``/reset_prefix_cache``, ``/sleep``, ``/collective_rpc`` (vLLM's security
guide)."""
