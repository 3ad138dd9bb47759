"""Three hosts whose weights do not come from the Hub: two from a bucket, one from a disk that was carried there.

Where the files are lies `SHA256SUMS`, made there by
`find . -type f ! -name SHA256SUMS -exec sha256sum {} + > SHA256SUMS`: names, sizes and checksums are known before
anything is changed, and every byte is checked. `repo` is the name under which engine and cache know the model. A bucket
that is not public is read with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment of the machine where
pyinfra runs.

Of the two hosts one reads the bucket; the other copies from it, over the private network and one port.
"""

_llama = {
    "name": "my-llama",
    "repo": "me/my-llama",
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
}

_shared = {
    "ssh_user": "root",
    "hermes_services": [{"name": "mine", "model": "my-llama"}],
    "hermes_mirrors": {"s3": {"endpoint": "https://minio.site.example:9000", "region": "us-east-1"}},
    "hermes_catalog": [{**_llama, "source": "s3://models/my-llama"}],
    "hermes_sharing": {"network": "10.0.0.0/24", "port": 8730},
}

gpu_hosts = [
    ("gpu-11.example", _shared),
    ("gpu-12.example", _shared),
    ("gpu-13.example", {**_shared, "hermes_catalog": [{**_llama, "source": "/mnt/usb/my-llama"}]}),
]
