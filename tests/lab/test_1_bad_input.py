"""Bad input on a bare host: one clear error each, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.conftest import Lab, Run

HOST = "gpu-3"


def fingerprint(lab: Lab) -> str:
    """Everything on the host that a deploy would change."""
    return lab.ssh(
        HOST,
        "dpkg-query -W | sha256sum; ls -laR /etc /opt /srv /usr/local 2>/dev/null | grep -v ' \\.\\.$' | sha256sum;"
        " systemctl list-unit-files | sha256sum",
    )


@pytest.fixture
def unchanged(lab: Lab) -> Iterator[None]:
    """The host is after the test what it was before it."""
    before = fingerprint(lab)
    yield
    assert before == fingerprint(lab)


def refused(lab: Lab, inventory: Path) -> Run:
    """A run that must fail."""
    run = lab.pyinfra(inventory, "-y")
    assert run.code == 1, run.text
    return run


@pytest.mark.usefixtures("unchanged")
class TestRefusals:
    """One clear message, exit code 1, host unchanged."""

    def check(self, lab: Lab, folder: Path, message: str, **changes: Any) -> None:
        run = refused(lab, lab.inventory(folder, HOST, **changes))
        assert message in run.text
        assert "Traceback" not in run.text

    def test_unknown_key(self, lab: Lab, tmp_path: Path) -> None:
        """An unknown key is named, with the nearest valid one."""
        message = "gpu-3: hermes_servces: unknown key; did you mean 'hermes_services'?"
        self.check(lab, tmp_path, message, hermes_servces=[])

    def test_unknown_model(self, lab: Lab, tmp_path: Path) -> None:
        """A model that is in no catalogue is named, with those that are."""
        message = "gpu-3: hermes_services/hermes/model: 'hermes-9' is in no catalogue. Known: hermes-3-3b,"
        self.check(lab, tmp_path, message, hermes_services=lab.service(model="hermes-9"))

    def test_context_too_large(self, lab: Lab, tmp_path: Path) -> None:
        """A context that cannot fit is refused with the largest that would, which then fits."""
        services = lab.service(model="hermes-3-8b", variant="bf16", context=131072, gpus=1)
        message = "What would fit: with context = 83968 it fits: hermes-3-8b-bf16 on 1 × NVIDIA GeForce RTX 4090, 83968"
        self.check(lab, tmp_path, message, hermes_services=services)

    @pytest.mark.parametrize(
        ("status", "message"),
        [
            (401, "refuses hermeion-lab/tiny-llama (401): it is gated, private, or does not exist. Check the name, "),
            (403, "refuses hermeion-lab/tiny-llama (403): it is gated, private, or does not exist. Check the name, "),
            (404, "has no hermeion-lab/tiny-llama at revision "),
            (503, "answers 503. Nothing was changed; try again later."),
        ],
    )
    def test_hub_refuses(self, lab: Lab, tmp_path: Path, hub_faults: Any, status: int, message: str) -> None:
        """A Hub that answers 401, 403, 404 or 503 is told with what to do."""
        hub_faults(statuses=[{"path": "^/api/models/.*", "status": status}])
        self.check(lab, tmp_path, message)

    def test_hub_down(self, lab: Lab, tmp_path: Path) -> None:
        """A Hub that does not answer is named with its address."""
        mirrors = lab.data["mirrors"] | {"hub": lab.data["mirrors"]["hub"].replace(":8443", ":8448")}
        message = f"hermes_catalog/tiny-llama: the Hub {mirrors['hub']} cannot be reached from the host (curl: (7) "
        self.check(lab, tmp_path, message, hermes_mirrors=mirrors)

    def test_registry_down(self, lab: Lab, tmp_path: Path) -> None:
        """A registry that does not answer is named with its address."""
        registry = lab.data["mirrors"]["registry"].replace(":5000", ":5001")
        message = f"hermes: the registry {registry} cannot be reached from the host (curl: (7) Failed to connect"
        self.check(lab, tmp_path, message, hermes_mirrors=lab.data["mirrors"] | {"registry": registry})

    def test_wrong_digest(self, lab: Lab, tmp_path: Path) -> None:
        """A digest that the registry does not have is shown."""
        digest = "sha256:" + 64 * "0"
        image = lab.data["images"]["vllm"].partition("@")[0] + "@" + digest
        registry = lab.data["mirrors"]["registry"]
        message = f"hermes: the registry {registry} has no vllm/vllm-openai@{digest} (404). "
        self.check(lab, tmp_path, message, hermes_services=lab.service(image=image))


def test_no_room_for_the_weights(lab: Lab, tmp_path: Path) -> None:
    """A disk that is too small for the weights is refused with bytes needed and free."""
    lab.ssh(HOST, "mkdir -p /mnt/small && mount -t tmpfs -o size=16m tmpfs /mnt/small")
    before = fingerprint(lab)
    run = refused(lab, lab.inventory(tmp_path, HOST, hermes_cache="/mnt/small/models"))
    assert "gpu-3: no room for the weights of tiny-llama: " in run.text
    assert "are needed at /mnt/small/models, 16777216 (16.0 MiB) are free." in run.text
    assert before == fingerprint(lab)
    lab.ssh(HOST, "umount /mnt/small && rmdir /mnt/small")


def test_no_room_for_the_image(lab: Lab, tmp_path: Path) -> None:
    """A disk that is too small for the image is refused with bytes needed and free."""
    lab.ssh(HOST, "mkdir -p /var/lib/docker && mount -t tmpfs -o size=64m tmpfs /var/lib/docker")
    before = fingerprint(lab)
    run = refused(lab, lab.inventory(tmp_path, HOST))
    assert before == fingerprint(lab)
    lab.ssh(HOST, "umount /var/lib/docker")
    assert "gpu-3: no room for the image vllm/vllm-openai: " in run.text
    assert "are needed at /var/lib/docker, 67108864 (64.0 MiB) are free." in run.text


def test_read_only_cache(lab: Lab, tmp_path: Path) -> None:
    """A cache on a read-only filesystem is refused."""
    lab.ssh(HOST, "mkdir -p /mnt/ro && mount -t tmpfs -o ro tmpfs /mnt/ro")
    before = fingerprint(lab)
    run = refused(lab, lab.inventory(tmp_path, HOST, hermes_cache="/mnt/ro/models"))
    assert before == fingerprint(lab)
    lab.ssh(HOST, "umount /mnt/ro && rmdir /mnt/ro")
    assert "gpu-3: hermes_cache /mnt/ro/models is on a read-only filesystem (tmpfs). Remount it read-write" in run.text


def test_unreachable_host(lab: Lab, tmp_path: Path) -> None:
    """An unreachable host is named at the end with exit code 1, and the other hosts go on."""
    path = lab.inventory(tmp_path, HOST)
    dead = lab.host(HOST)["address"].rpartition(".")[0] + ".250"
    path.write_text(
        path.read_text()
        + f"lab = lab + [('dead', lab[0][1] | {{'ssh_hostname': '{dead}', 'ssh_connect_retries': 0, "
        + "'ssh_paramiko_connect_kwargs': {'timeout': 2}})]\n"
    )
    run = lab.pyinfra(path, "--dry", "-y")
    assert run.code == 1, run.text
    assert "    dead: could not connect" in run.text
    assert "[gpu-3] hermes: tiny-llama on 1 × NVIDIA GeForce RTX 4090" in run.text
