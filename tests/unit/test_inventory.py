"""What an inventory may say, and what a person reads when it says something else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from hermeion.errors import InventoryError
from hermeion.inventory import HostSpec, parse_host_spec
from hermeion.precisions import PRECISIONS
from tests.unit.builders import OWN

SERVICE = {"name": "hermes", "model": "hermes-3-8b"}
IMAGE_PATTERN = r"'^([\w.-]+:\d+/)?[a-z0-9._/-]+:[\w][\w.-]{0,127}(@sha256:[0-9a-f]{64})?$'"
SERVICE_KEYS = (
    "archive, context, engine, engine_version, environment, extra_args, gpus, image, kv_precision, min_context, model, "
    "name, port, requirements, runtime, sequences, served_names, thinking, variant"
)


def refusal(data: dict[str, Any]) -> str:
    """The message for a host's data."""
    with pytest.raises(InventoryError) as caught:
        parse_host_spec("gpu-1", data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"hermes_servces": []}, "hermes_servces: unknown key; did you mean 'hermes_services'?"),
        ({"hermes_mirror": {}}, "hermes_mirror: unknown key; did you mean 'hermes_mirrors'?"),
        (
            {"hermes_mirrors": {"apt": {"nvida": {}}}},
            "hermes_mirrors/apt/nvida: unknown key; did you mean 'nvidia'?",
        ),
        (
            {"hermes_driver": {"reboot_timout": 5}},
            "hermes_driver/reboot_timout: unknown key; did you mean 'reboot_timeout'?",
        ),
        (
            {"hermes_catalog": [{**OWN, "shape": {**OWN["shape"], "laiers": 1}}]},
            "hermes_catalog/0/shape/laiers: unknown key; did you mean 'layers'?",
        ),
        (
            {"hermes_catalog": [{**OWN, "revision": "main"}]},
            "hermes_catalog/0/revision: string should match pattern '^[0-9a-f]{40}$' (found 'main')",
        ),
        (
            {"hermes_catalog": [{**OWN, "repo": "my-llama"}]},
            r"hermes_catalog/0/repo: string should match pattern '^[\w.][\w.-]*/[\w.-]+$' (found 'my-llama')",
        ),
        (
            {"hermes_catalog": [{**OWN, "name": "my model\nExecStart=/bin/sh"}]},
            r"hermes_catalog/0/name: string should match pattern '^[\w.][\w.-]*$' "
            r"(found 'my model\nExecStart=/bin/sh')",
        ),
        (
            {"hermes_catalog": [{**OWN, "precision": "int4"}]},
            f"hermes_catalog/0/precision: no precision 'int4'; there are {', '.join(PRECISIONS)}",
        ),
        (
            {"hermes_mirrors": {"apt": {"nvidia": {"url": "http://mirror", "key": "k"}}}},
            r"hermes_mirrors/apt/nvidia/url: string should match pattern '^https?://[\w.:/-]+/$' "
            "(found 'http://mirror')",
        ),
        (
            {"hermes_mirrors": {"apt": {"nvidia": {"url": "http://mirror/"}}}},
            "hermes_mirrors/apt/nvidia/key: is missing",
        ),
        (
            {"hermes_mirrors": {"s3": {"endpoint": "minio:9000"}}},
            r"hermes_mirrors/s3/endpoint: string should match pattern '^https?://[\w.:/-]+$' (found 'minio:9000')",
        ),
        ({"hermes_mirrors": {"s3": {}}}, "hermes_mirrors/s3/endpoint: is missing"),
        (
            {"hermes_mirrors": {"s3": {"endpoint": "http://x", "regio": "eu-1"}}},
            "hermes_mirrors/s3/regio: unknown key; did you mean 'region'?",
        ),
        (
            {"hermes_share": {"hosts": False}},
            "hermes_share: unknown key; did you mean 'hermes_sharing'?",
        ),
        (
            {"hermes_sharing": {"network": "10.0.0.7/24"}},
            "hermes_sharing/network: '10.0.0.7/24' is no network in CIDR notation (10.0.0.7/24 has host bits set)",
        ),
        (
            {"hermes_sharing": {"network": "private"}},
            "hermes_sharing/network: 'private' is no network in CIDR notation ('private' does not appear to be an IPv4 "
            "or IPv6 network)",
        ),
        (
            {"hermes_sharing": {"network": "10.0.0.7"}},
            "hermes_sharing/network: '10.0.0.7' is one address, not a network: write it as 10.0.0.0/24",
        ),
        (
            {"hermes_sharing": {"port": 873}},
            "hermes_sharing/port: input should be greater than or equal to 1024 (found 873)",
        ),
        (
            {"hermes_catalog": [{"name": "mine", "repo": "me/mine", "source": "mnt/usb"}]},
            r"hermes_catalog/0/source: string should match pattern '^(s3:/(/[\w.][\w.+-]*)+|(/[\w.+-]+)+)/?$' "
            "(found 'mnt/usb')",
        ),
        (
            {"hermes_catalog": [{"name": "mine", "repo": "me/mine", "source": "s3://models/../other"}]},
            "hermes_catalog/0: source must not lead upwards: s3://models/../other",
        ),
        (
            {"hermes_catalog": [{"name": "mine", "path": "/srv/mine", "source": "s3://models/mine"}]},
            "hermes_catalog/0: source needs repo: the weights are served from the cache, under this name",
        ),
        (
            {"hermes_catalog": [{"name": "mine", "source": "s3://models/mine"}]},
            "hermes_catalog/0: source needs repo: the weights are served from the cache, under this name",
        ),
        (
            {"hermes_mirrors": {"registry": "https://mirror"}},
            r"hermes_mirrors/registry: string should match pattern '^[\w.-]+(:\d+)?$' (found 'https://mirror')",
        ),
        (
            {"hermes_mirrors": {"hub": "mirror"}},
            r"hermes_mirrors/hub: string should match pattern '^https?://[\w.:/-]+$' (found 'mirror')",
        ),
        ({"hermes_driver": {"branch": 535}}, "hermes_driver/branch: input should be 580 or 595 (found 535)"),
        (
            {"hermes_driver": {"reboot_timeout": 5}},
            "hermes_driver/reboot_timeout: input should be greater than or equal to 30 (found 5)",
        ),
        (
            {"hermes_cache": "models"},
            r"hermes_cache: string should match pattern '^/[\w./+-]+$' (found 'models')",
        ),
        (
            {"hermes_cache": "/srv/my models"},
            r"hermes_cache: string should match pattern '^/[\w./+-]+$' (found '/srv/my models')",
        ),
        (
            {"hermes_refresh": "perhaps"},
            "hermes_refresh: input should be a valid boolean, unable to interpret input (found 'perhaps')",
        ),
        ({"hermes_services": "hermes"}, "hermes_services: input should be a list (found 'hermes')"),
        (
            {"hermes_services": [SERVICE, {**SERVICE, "name": "other"}]},
            "hermes_services: two services have the same port: 8000",
        ),
        (
            {"hermes_services": [SERVICE, {**SERVICE, "port": 8001}]},
            "hermes_services: two services have the same name: hermes",
        ),
        ({"hermes_services": [{"name": "hermes"}]}, "hermes_services/0/model: is missing"),
    ],
)
def test_host_keys(data: dict[str, Any], message: str) -> None:
    """What is wrong is told with host, path, rule and what was found."""
    assert f"gpu-1: {message}" == refusal(data)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"contxt": 1}, "contxt: unknown key; did you mean 'context'?"),
        ({"qqqqqq": 1}, f"qqqqqq: unknown key; known are {SERVICE_KEYS}"),
        ({"port": 0}, "port: input should be greater than or equal to 1 (found 0)"),
        ({"port": 65536}, "port: input should be less than or equal to 65535 (found 65536)"),
        (
            {"port": "x"},
            "port: input should be a valid integer, unable to parse string as an integer (found 'x')",
        ),
        (
            {"context": "big"},
            "context: input should be 'max', or input should be a valid integer, unable to parse string as an "
            "integer (found 'big')",
        ),
        (
            {"context": -5},
            "context: input should be 'max', or input should be greater than or equal to 1 (found -5)",
        ),
        ({"min_context": 0}, "min_context: input should be greater than or equal to 1 (found 0)"),
        ({"sequences": 0}, "sequences: input should be greater than or equal to 1 (found 0)"),
        (
            {"gpus": 0},
            "gpus: input should be 'auto', or input should be greater than or equal to 1, or input should be a list "
            "(found 0)",
        ),
        (
            {"gpus": "all"},
            "gpus: input should be 'auto', or input should be a valid integer, unable to parse string as an integer, "
            "or input should be a list (found 'all')",
        ),
        (
            {"gpus": []},
            "gpus: input should be 'auto', or input should be a valid integer, or tuple should have at least 1 item "
            "after validation, not 0 (found [])",
        ),
        ({"name": "Hermes"}, "name: string should match pattern '^[a-z][a-z0-9-]{0,31}$' (found 'Hermes')"),
        ({"runtime": "podman"}, "runtime: input should be 'compose' or 'systemd' (found 'podman')"),
        (
            {"archive": {"url": "ftp://x/y.tar.gz", "sha256": "0" * 64}},
            "archive/url: string should match pattern '^https?://[\\w.:/%+~@-]+\\.(tar\\.gz|tgz|tar\\.zst|tar\\.xz)$' "
            "(found 'ftp://x/y.tar.gz')",
        ),
        (
            {"archive": {"url": "https://x/y.tar.gz", "sha256": "0"}},
            "archive/sha256: string should match pattern '^[0-9a-f]{64}$' (found '0')",
        ),
        (
            {"served_names": ["two words"]},
            "served_names/0: string should match pattern '^[\\w./:+@-]{1,128}$' (found 'two words')",
        ),
        (
            {"environment": {"A=B": "c"}},
            "environment/A=B: string should match pattern '^[A-Za-z_][A-Za-z0-9_]*$' (found 'A=B')",
        ),
        (
            {"engine": "tgi"},
            "engine: input should be 'auto', 'vllm', 'sglang', 'llamacpp' or 'ollama' (found 'tgi')",
        ),
        ({"image": "vllm"}, f"image: string should match pattern {IMAGE_PATTERN} (found 'vllm')"),
        (
            {"thinking": "perhaps"},
            "thinking: input should be a valid boolean, unable to interpret input (found 'perhaps')",
        ),
        (
            {"extra_args": {"seed": [1]}},
            "extra_args/seed: input should be a valid string, or input should be a valid integer, or input should be "
            "a valid number, or input should be a valid boolean (found [1])",
        ),
    ],
)
def test_service_keys(keys: dict[str, Any], message: str) -> None:
    """What is wrong with a service is told with its place in the list; a choice of forms is one line."""
    assert f"gpu-1: hermes_services/0/{message}" == refusal({"hermes_services": [{**SERVICE, **keys}]})


def test_every_problem_has_its_line() -> None:
    """Several problems are told at once."""
    data = {"hermes_services": [SERVICE, {"name": "b", "model": "m", "port": 0}], "hermes_servces": []}

    assert [
        "gpu-1: hermes_services/1/port: input should be greater than or equal to 1 (found 0)",
        "gpu-1: hermes_servces: unknown key; did you mean 'hermes_services'?",
    ] == refusal(data).splitlines()


def test_other_keys_are_not_ours() -> None:
    """pyinfra's own data stands beside ours and is not read."""
    spec = parse_host_spec("gpu-1", {"ssh_user": "root", "_sudo": True, "hermes_services": [SERVICE]})

    assert ["hermes"] == [service.name for service in spec.hermes_services]


def test_nothing_wanted() -> None:
    """A host without our keys wants nothing, and has the defaults."""
    spec = parse_host_spec("gpu-1", {"ssh_user": "root"})

    assert ((), "/srv/models") == (spec.hermes_services, spec.hermes_cache)


@pytest.mark.parametrize("image", ["registry:5000/me/engine:1", "ghcr.io/me/engine:1", "me/engine:1"])
def test_image_names(image: str) -> None:
    """An image may come from any registry, with or without a port."""
    spec = parse_host_spec("gpu-1", {"hermes_services": [{**SERVICE, "image": image}]})

    assert image == spec.hermes_services[0].image


def models_of(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A model and those in its fields."""
    found = {model}
    for field in model.model_fields.values():
        for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                found |= models_of(candidate)
    return found


def test_every_key_is_described() -> None:
    """Every key has a description that ends as a sentence: the documentation is made from them."""
    wrong = [
        f"{model.__name__}.{name}"
        for model in models_of(HostSpec)
        for name, field in model.model_fields.items()
        if not (field.description or "").endswith((".", ").", "`."))
    ]

    assert 7 <= len(models_of(HostSpec))
    assert [] == wrong
