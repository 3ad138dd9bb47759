"""One host with an own fine-tune: `hermes_catalog` says what of `config.json` decides the memory it takes.

`bytes` is the size of the safetensors; a `revision` pins the commit, without one `main` is resolved once.
"""

gpu_hosts = [
    (
        "gpu-5.example",
        {
            "ssh_user": "root",
            "hermes_catalog": [
                {
                    "name": "my-llama",
                    "repo": "me/my-llama",
                    "revision": "0123456789abcdef0123456789abcdef01234567",
                    "precision": "bf16",
                    "bytes": 16_060_522_496,
                    "layers": 32,
                    "hidden": 4096,
                    "intermediate": 14336,
                    "heads": 32,
                    "kv_heads": 8,
                    "head_dim": 128,
                    "vocab": 128256,
                    "max_context": 32768,
                    "tool_parser": "hermes",
                    "reasoning_parser": None,
                    "sampling": {"temperature": 0.7, "top_k": 40},
                },
            ],
            "hermes_services": [
                {
                    "name": "mine",
                    "model": "my-llama",
                    "extra_args": {"seed": 1, "enable-prefix-caching": True},
                },
            ],
        },
    ),
]
