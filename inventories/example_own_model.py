"""One host with own models: from the Hub, from a folder of the host's own, and one described by hand.

What decides the memory is read from the model's own files (`config.json` and headers), from the host that will serve
it. A `revision` pins the commit; without one `main` is resolved once. `shape`, `bytes` and `precision` given here spare
the reading: a plan can then be made before the model is anywhere.
"""

gpu_hosts = [
    (
        "gpu-5.example",
        {
            "ssh_user": "root",
            "hermes_gpus": "2xL40S",
            "hermes_catalog": [
                {
                    "name": "my-llama",
                    "repo": "me/my-llama",
                    "revision": "0123456789abcdef0123456789abcdef01234567",
                    "precision": "bf16",
                    "bytes": 16_060_522_496,
                    "shape": {
                        "layers": 32,
                        "hidden": 4096,
                        "intermediate": 14336,
                        "heads": 32,
                        "kv_heads": 8,
                        "head_dim": 128,
                        "vocab": 128256,
                        "max_context": 32768,
                    },
                    "tool_parser": "hermes",
                    "reasoning_parser": None,
                    "sampling": {"temperature": 0.7, "top_k": 40},
                },
                {"name": "their-qwen", "repo": "them/their-qwen"},
                {"name": "local-llama", "path": "/srv/models/local/local-llama"},
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
