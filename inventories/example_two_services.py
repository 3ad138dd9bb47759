"""One host with two L40S and two services, a GPU each; Hermes 4 thinks unless a request says otherwise."""

gpu_hosts = [
    (
        "gpu-2.example",
        {
            "ssh_user": "admin",
            "_sudo": True,
            "hermes_services": [
                {"name": "chat", "model": "hermes-4-14b", "port": 8000, "gpus": 1, "thinking": True},
                {"name": "small", "model": "hermes-3-8b", "port": 8001, "gpus": 1, "context": 32768, "sequences": 32},
            ],
            "hermes_cache": "/data/models",
        },
    ),
]
