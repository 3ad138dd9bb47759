"""The services container: registry, Hub, package index, apt repository and files behind the lab's own CA."""

from __future__ import annotations

import ipaddress
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from docker.errors import APIError

from hermeion.errors import LabError

from .cache import hash_folder, hash_of
from .daemon import LABEL, find_containers, labels, resource_name, tail_of_log
from .labfile import S3Entry
from .network import SERVICES_HOST
from .paths import StatePaths, cache_root
from .progress import Report
from .served import CACHE_INSIDE, SERVING_INSIDE

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

REGISTRY_PORT = 5000
HUB_PORT = 8443
_REGION = "us-east-1"  # what S3-compatible stores say that have none
_CODE = Path(__file__).parent / "services"
_START_SECONDS = 30.0


def address_of(subnet: ipaddress.IPv4Network) -> str:
    """The services container's address."""
    return str(subnet[SERVICES_HOST])


def registry_of(address: str) -> str:
    """The registry as it stands in front of an image's name."""
    return f"{address}:{REGISTRY_PORT}"


def hub_of(address: str) -> str:
    """The Hub's URL, without a slash at the end."""
    return f"https://{address}:{HUB_PORT}"


def trust(state: StatePaths) -> ssl.SSLContext:
    """TLS settings that trust the lab's CA and nothing else."""
    return ssl.create_default_context(cafile=str(state.ca))


def describe_mirrors(address: str, state: StatePaths) -> dict[str, Any]:
    """What an inventory calls ``hermes_mirrors``."""
    hub = hub_of(address)
    return {
        "registry": registry_of(address),
        "hub": hub,
        "index": f"{hub}/simple/",
        "apt": {"nvidia": {"url": f"{hub}/apt/", "key": str(state.apt_key)}},
        "ca": str(state.ca),
    }


def describe_s3(address: str, keys: tuple[str, str]) -> S3Entry:
    """The lab's store of buckets, and who may read it."""
    return S3Entry(endpoint=f"{hub_of(address)}/s3", region=_REGION, access_key=keys[0], secret_key=keys[1])


def files_of(address: str) -> str:
    """Where plain files are served; a file's name follows."""
    return f"{hub_of(address)}/files/"


def ensure_services(
    client: docker.DockerClient, lab: str, subnet: ipaddress.IPv4Network, image: str, state: StatePaths, report: Report
) -> str:
    """The address of a running services container made from this image, this code and these certificates.

    Raises:
        LabError: It does not answer; carries its log's end.
    """
    address = address_of(subnet)
    wanted = hash_of(image, hash_folder(_CODE), (state.tls / "server.crt").read_bytes())
    for container in find_containers(client, lab, "services"):
        if container.labels.get(f"{LABEL}.content") == wanted:
            if container.status != "running":
                container.start()
            break
        container.remove(force=True)
    else:
        container = _create(client, lab, address, image, state, wanted)
    _wait(container, address, state)
    report.line(f"services answer at {hub_of(address)} and {registry_of(address)}")
    return address


def _create(
    client: docker.DockerClient, lab: str, address: str, image: str, state: StatePaths, content: str
) -> Container:
    (cache_root() / "registry").mkdir(parents=True, exist_ok=True)
    state.serving.mkdir(parents=True, exist_ok=True)
    settings = client.api.create_host_config(
        binds={
            str(_CODE): {"bind": "/lab/code/services", "mode": "ro"},
            str(state.tls): {"bind": "/lab/tls", "mode": "ro"},
            str(state.serving): {"bind": str(SERVING_INSIDE), "mode": "ro"},
            str(cache_root()): {"bind": str(CACHE_INSIDE), "mode": "ro"},
            str(cache_root() / "registry"): {"bind": f"{CACHE_INSIDE}/registry", "mode": "rw"},
        },
        network_mode=resource_name(lab, "net"),
        restart_policy={"Name": "unless-stopped"},
        init=True,
    )
    # Any: the stubs of create_networking_config want one endpoint where the SDK wants a mapping.
    endpoints: Any = {resource_name(lab, "net"): client.api.create_endpoint_config(ipv4_address=address)}
    try:
        made = client.api.create_container(
            image,
            name=resource_name(lab, "services"),
            hostname="services",
            labels=labels(lab, "services") | {f"{LABEL}.content": content},
            host_config=settings,
            networking_config=client.api.create_networking_config(endpoints),
            environment={"PYTHONDONTWRITEBYTECODE": "1"},
        )
        container = client.containers.get(made["Id"])
        container.start()
    except APIError as error:
        message = f"the services container cannot be made: {error}. Try: hermeion lab down, then up again."
        raise LabError(message) from error
    return container


def _wait(container: Container, address: str, state: StatePaths) -> None:
    deadline = time.monotonic() + _START_SECONDS
    said = ""
    # Proxies of the environment do not lead to a container of this machine.
    with httpx.Client(verify=trust(state), timeout=2, trust_env=False) as client:
        while time.monotonic() < deadline:
            try:
                client.get(f"{hub_of(address)}/_lab/health").raise_for_status()
                client.get(f"https://{registry_of(address)}/v2/").raise_for_status()
            except httpx.HTTPError as error:
                said = str(error)
                time.sleep(0.1)
                continue
            return
    message = (
        f"the lab's services do not answer at {address} within {_START_SECONDS:.0f} s ({said}).\n"
        f"{tail_of_log(container)}\nSee: docker logs {container.name}"
    )
    raise LabError(message)
