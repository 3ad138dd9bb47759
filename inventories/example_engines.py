"""One host with four L40S, an engine on each: vLLM and Ollama natively, SGLang and llama.cpp in containers."""

gpu_hosts = [
    (
        "gpu-6.example",
        {
            "ssh_user": "root",
            "hermes_services": [
                # A virtual environment with vLLM's locked requirements: no container, no other service's Python.
                {"name": "hermes", "model": "hermes-4-14b", "gpus": 1, "port": 8000, "runtime": "systemd"},
                {"name": "quick", "model": "hermes-3-8b", "engine": "sglang", "gpus": 1, "port": 8001},
                # A variant in a GGUF file: llama.cpp serves it, and engine need not say so.
                {"name": "large", "model": "hermes-4.3-36b", "variant": "q6_k", "gpus": 1, "port": 8002},
                # Ollama has no API keys: whoever reaches the port may use it. It listens on 127.0.0.1, as all do.
                {
                    "name": "home",
                    "model": "hermes-3-8b",
                    "variant": "q8_0",
                    "engine": "ollama",
                    "gpus": 1,
                    "port": 8003,
                    "runtime": "systemd",
                },
            ],
        },
    ),
]
