"""One host with one RTX 4090 that serves Hermes 3 8B: the smallest inventory there is.

Hermeion finds out the rest: driver 580, Docker, the weights in bf16, about 33,000 tokens of context.
"""

gpu_hosts = [
    (
        "gpu-1.example",
        {
            "ssh_user": "root",
            "hermes_services": [{"name": "hermes", "model": "hermes-3-8b"}],
        },
    ),
]
