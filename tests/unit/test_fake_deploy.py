"""The whole deploy, run by plain pyinfra, on hosts that the ``@fake`` connector plays."""

from __future__ import annotations

import re

import pytest

from tests.unit.builders import POISON, ROOT
from tests.unit.fakes import GPUS_OF_EXAMPLES, Run, Runs, example_hosts

REFUSED = (
    "Secure Boot is on and a module built by DKMS is not signed for this firmware; enrolling a key needs a "
    "password at the console. Turn Secure Boot off, enrol DKMS's key by hand (mokutil --import /var/lib/dkms/mok.pub), "
    "or install a signed driver by hand."
)


def said(run: Run, host: str) -> list[str]:
    """What a run printed about a host, without pyinfra's own lines."""
    prefix = re.compile(rf" *\[@fake/{re.escape(host)}\] +")
    lines = [line[found.end() :] for line in run.stderr.splitlines() if (found := prefix.match(line))]
    return [line for line in lines if not re.match(r"Connected|Ready:|Skipped|Error: executed", line)]


def commands(run: Run, host: str) -> int:
    """How many commands a run gave to a host."""
    return run.stderr.count(f"simulating command on @fake/{host}: ")


def test_bare_host_shows_its_plan(runs: Runs) -> None:
    """A bare host's plan is printed before anything is done: what runs where, and each stage with its reasons."""
    lines = said(runs["apply"], "bare")

    assert (
        "hermes: hermes-3-8b-bf16 on 1 × NVIDIA GeForce RTX 4090 (0000:01:00.0), vllm 0.33.0, "
        "tensor parallel 1, 127.0.0.1:8000" == lines[0]
    )
    assert [
        "driver: no driver answers; branch 580 (LTS) with the open kernel module",
        "runtime: Docker is missing; debian 13 has 26.1.5+dfsg1-9+deb13u1 with Compose 2.26.1-4",
        "runtime: CDI is off: Docker before 28.2 has it if /etc/docker/daemon.json says so",
        "runtime: NVIDIA's container toolkit is missing",
        "runtime: The driver changes, and with it the CDI specification",
        "cache: hermes-3-8b-bf16 is missing",
        "service: hermes: not deployed yet",
    ] == lines[4:11]


def test_converged_host_is_left_alone(runs: Runs) -> None:
    """A host that is as planned costs one command, the probe, and one line."""
    release = runs.done.services[0].release_id

    assert [f"nothing to do: hermes serves hermes-3-8b-bf16 (release {release})"] == said(runs["apply"], "done")
    assert 1 == commands(runs["apply"], "done")
    assert {} == runs.report("apply")["hosts"]["@fake/done"]["pending"]


def test_operations_are_the_stages_in_order(runs: Runs) -> None:
    """What is pending is applied from driver to service; refusals come before anything is changed."""
    operations = re.findall(r"^--> Starting operation: (.*?) *$", runs["apply"].stderr, re.MULTILINE)

    assert [
        "Refuse: what cannot work here",
        "Cache: begin with the weights",
        "Runtime: Docker and Compose",
        "Service: begin with the engines",
        "Driver: repository and packages",
        "Driver: load it, by a reboot if it must be",
        "Driver: compare the GPUs with the plan",
        "Runtime: Docker, Compose, container toolkit, CDI",
        "Cache: weights of hermes",
        "Service: engine of hermes",
        "Service: release of hermes",
        "Service: start hermes and wait until it answers",
    ] == operations


def test_refused_host_stops_no_other(runs: Runs) -> None:
    """A host that cannot work gets its probe and the command that fails it; the others go on, and the run fails."""
    assert 1 == runs["apply"].returncode
    assert [f"refused: {REFUSED}"] == said(runs["apply"], "refused")
    assert 2 == commands(runs["apply"], "refused")
    assert 2 < commands(runs["apply"], "bare")


def test_host_without_an_answer(runs: Runs) -> None:
    """A host whose probe says nothing is refused like one that cannot work."""
    assert ["refused: the probe gave no answer. Log in and look whether `sh` works there."] == said(
        runs["apply"], "silent"
    )


def test_not_served(runs: Runs) -> None:
    """The last thing a person reads is who is not served, and why."""
    end = runs["apply"].stderr.rpartition("--> Not served:\n")[2]

    assert f"    @fake/refused: {REFUSED}\n" in end
    assert "    @fake/silent: the probe gave no answer." in end
    assert "    @fake/bare: Docker failed:\n" in end
    assert "@fake/done" not in end
    assert {"@fake/refused", "@fake/silent", "@fake/bare"} == set(runs.report("apply")["failed"])


def test_token_is_never_shown(runs: Runs) -> None:
    """Not even ``--debug`` prints the Hub's token."""
    run = runs["apply"]

    assert "simulating command" in run.stderr
    assert POISON not in run.stdout + run.stderr + runs.left.read_text()


def test_wrong_inventory_stops_everything(runs: Runs) -> None:
    """One wrong key anywhere stops the run before any host is given a command; every problem is told."""
    run = runs["wrong"]

    assert 1 == run.returncode
    assert 0 == run.stderr.count("simulating command")
    for line in (
        "the inventory cannot be used:",
        "@fake/typo: hermes_servces: unknown key; did you mean 'hermes_services'?",
        "@fake/absent: hermes_mirrors/ca: /nowhere/ca.pem cannot be read: [Errno 2] No such file or directory: "
        "'/nowhere/ca.pem'",
    ):
        assert line in run.stderr
    assert "Traceback" not in run.stderr


EXAMPLES = [path.stem for path in sorted((ROOT / "inventories").glob("example_*.py"))]


def test_every_example_has_a_host_to_play() -> None:
    """An example that is added is added here."""
    assert set(EXAMPLES) == set(GPUS_OF_EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_documented(example: str) -> None:
    """Each example says what it is for."""
    assert (ROOT / "inventories" / f"{example}.py").read_text().startswith('"""')


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_can_be_deployed(runs: Runs, example: str) -> None:
    """Every host of every example gets a plan with the services it asks for, and is refused nowhere."""
    planned = runs.report("examples")["hosts"]
    hosts = {name: data for name, data in example_hosts().items() if data["example"] == example}

    assert (2, {}) == (runs["examples"].returncode, runs.report("examples")["failed"])
    assert hosts
    for name, data in hosts.items():
        services = planned[f"@fake/{name}"]["plan"]["services"]
        assert [service["name"] for service in data["hermes_services"]] == [service["name"] for service in services]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("gpu-1.example", [("hermes-3-8b-bf16", 39936, 1)]),
        ("gpu-2.example", [("hermes-4-14b-bf16", 40960, 1), ("hermes-3-8b-bf16", 32768, 1)]),
        ("gpu-3.site.example", [("hermes-4-70b-fp8", 65536, 2)]),
        ("gpu-4.site.example", [("hermes-4-70b-fp8", 65536, 2)]),
        ("gpu-5.example", [("my-llama", 32768, 1)]),
        (
            "gpu-6.example",
            [
                ("hermes-4-14b-bf16", 40960, 1),
                ("hermes-3-8b-bf16", 131072, 1),
                ("hermes-4.3-36b-q6_k", 60928, 1),
                ("hermes-3-8b-q8_0", 131072, 1),
            ],
        ),
    ],
)
def test_plans_of_the_examples(runs: Runs, host: str, expected: list[tuple[str, int, int]]) -> None:
    """The examples are planned as their own words say."""
    services = runs.report("examples")["hosts"][f"@fake/{host}"]["plan"]["services"]

    assert expected == [(s["variant"], s["context"], len(s["gpus"])) for s in services]
