"""What native engines are installed from: locks, archives, and the refusals where there is none."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from hermeion.engines import ENGINES
from hermeion.engines.natives import archive, locked_versions, requirements
from hermeion.errors import PlacementError
from hermeion.inventory import ServiceSpec
from hermeion.packages import plan_package
from hermeion.plans import Package
from tests.unit.builders import NAME, make_probe

LOCK = "vllm==0.33.0 --hash=sha256:ab\n"
GIVEN = {"url": "https://example.com/llama.tar.gz", "sha256": "ab" * 32}
LIBRARIES = {"url": "https://example.com/cudart.tar.gz", "sha256": "cd" * 32}

DEBIAN_12 = ("ID=debian", 'VERSION_ID="12"')
DEBIAN_13 = ("ID=debian", 'VERSION_ID="13"')
UBUNTU_22 = ("ID=ubuntu", 'VERSION_ID="22.04"')


def package(engine: str, version: str, lock: str | None = None, os: Any = DEBIAN_13, **keys: Any) -> Package:
    """The package of a native service on a host; ``machine`` is the host's, other keywords are the service's."""
    probe = make_probe(os=os, machine=keys.pop("machine", "x86_64"))
    wanted = {"name": "hermes", "model": "hermes-3-8b", "engine": engine, "runtime": "systemd", **keys}
    return plan_package(NAME, ServiceSpec.model_validate(wanted), ENGINES[engine], version, probe, lock)


def refusal(*args: Any, **keys: Any) -> str:
    """The message where there is none."""
    with pytest.raises(PlacementError) as caught:
        package(*args, **keys)
    return str(caught.value)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_virtual_environment(engine: str) -> None:
    """vLLM and SGLang come from this release's lock of the version, with what it takes; the lock is in the name."""
    version = locked_versions(engine)[-1]
    known = requirements(engine, version)
    found = package(engine, version, os=DEBIAN_12)

    assert known
    assert (f"{engine}-{version}", "venv", known.sha256, known.download, known.installed, ()) == (
        found.name,
        found.kind,
        found.sha256,
        found.download,
        found.installed,
        found.archives,
    )
    assert f"{engine}-{version}-{known.sha256[:12]}" == found.identity
    assert ENGINES[engine].PROGRAM == found.program


def test_an_own_lock() -> None:
    """The text of an own lock makes the package, whatever this release has locked; its size is not known."""
    digest = sha256(LOCK.encode()).hexdigest()
    found = package("vllm", "0.99.0", LOCK)

    assert ("vllm-0.99.0", digest, None, None) == (found.name, found.sha256, found.download, found.installed)
    assert found.identity != package("vllm", "0.99.0", LOCK + "torch==1\n").identity


@pytest.mark.parametrize(
    ("engine", "program"),
    [("llamacpp", ("llama-server",)), ("ollama", ("bin/ollama", "serve"))],
)
def test_an_archive_of_the_inventory(engine: str, program: tuple[str, ...]) -> None:
    """An archive that is given is taken, with the engine's own program in it unless another is named."""
    found = package(engine, "x", archive=GIVEN)
    other = package(engine, "x", archive={**GIVEN, "program": "build/bin/server"})

    assert (f"{engine}-x", "archive", GIVEN["sha256"], program) == (
        found.name,
        found.kind,
        found.sha256,
        found.program,
    )
    assert [(GIVEN["url"], GIVEN["sha256"])] == [(file.url, file.sha256) for file in found.archives]
    assert ("build/bin/server", *program[1:]) == other.program


def test_a_second_archive_is_part_of_the_identity() -> None:
    """The libraries are unpacked after the program; other libraries are another folder."""
    found = package("llamacpp", "x", archive={**GIVEN, "libraries": LIBRARIES})

    assert [GIVEN["url"], LIBRARIES["url"]] == [file.url for file in found.archives]
    assert sha256((GIVEN["sha256"] + LIBRARIES["sha256"]).encode()).hexdigest() == found.sha256


def test_an_archive_that_this_release_knows() -> None:
    """Ollama's binary release by its checksum, for the host's machine."""
    version = ENGINES["ollama"].VERSIONS[-1]
    known = archive("ollama", version, "x86_64")
    found = package("ollama", version)

    assert known
    assert (known.url, known.sha256, known.bytes) == (found.archives[0].url, found.sha256, found.download)
    assert "bin/ollama" == found.program[0]


LOCKED = ", ".join(locked_versions("vllm"))


@pytest.mark.parametrize(
    ("args", "keys", "message"),
    [
        (
            ("vllm", "0.33.0"),
            {"os": UBUNTU_22},
            "ubuntu 22.04 has no Python that vLLM can be installed for. Set runtime = 'compose'.",
        ),
        (
            ("vllm", "0.33.0", LOCK),
            {"os": UBUNTU_22},
            "ubuntu 22.04 has no Python that vLLM can be installed for. Set runtime = 'compose'.",
        ),
        (
            ("vllm", "0.12.0"),
            {},
            f"nobody has locked the requirements of vLLM 0.12.0 (those of {LOCKED} are). Choose such an "
            "engine_version, make a lock (scripts/engine-lock vllm 0.12.0) and name it in requirements, or set "
            "runtime = 'compose'.",
        ),
        (
            ("sglang", "0.5.23"),
            {},
            "SGLang 0.5.23 has packages for Python 3.11 to 3.12, and debian 13 has 3.13. Set runtime = 'compose'.",
        ),
        (
            ("llamacpp", "b1"),
            {},
            "this release knows no binary release of llama.cpp b1 for x86_64 with its checksum. Give archive = "
            "{'url': …, 'sha256': …}, or set runtime = 'compose'.",
        ),
        (
            ("ollama", "0.33.3"),
            {"machine": "ppc64le"},
            "this release knows no binary release of Ollama 0.33.3 for ppc64le with its checksum. Give archive = "
            "{'url': …, 'sha256': …}, or set runtime = 'compose'.",
        ),
    ],
)
def test_nothing_to_install_from(args: tuple[Any, ...], keys: dict[str, Any], message: str) -> None:
    """A host, a version or a machine for which there is nothing, with what helps."""
    assert f"{NAME}: hermes: {message}" == refusal(*args, **keys)
