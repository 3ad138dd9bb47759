"""lab.json, the cache, and the names and addresses of a lab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hermeion.errors import LabError
from hermeion.lab import cache
from hermeion.lab.fleet import ssh_command
from hermeion.lab.labfile import ArchiveEntry, HostEntry, LabFile, ModelEntry, read_lab_file, write_lab_file
from hermeion.lab.mirrors import describe_mirrors, describe_s3, files_of
from hermeion.lab.network import candidate_subnets, read_routes
from hermeion.lab.paths import StatePaths, cache_root


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def a_lab() -> LabFile:
    state = StatePaths.of("lab")
    return LabFile(
        name="lab",
        user="root",
        key=str(state.key),
        known_hosts=str(state.known_hosts),
        hosts=[HostEntry(name="gpu-1", address="10.1.2.11", port=22, gpus="1xL40S")],
        mirrors=describe_mirrors("10.1.2.2", state),
        images={"vllm": "vllm/vllm-openai:v0.32.0@sha256:" + "a" * 64},
        models=[
            ModelEntry(name="tiny-llama", repo="hermeion-lab/tiny-llama", revision="b" * 40),
            ModelEntry(name="tiny-llama-gguf", repo="hermeion-lab/tiny-llama-GGUF", revision="c" * 40, file="t.gguf"),
        ],
        archives={"llamacpp": ArchiveEntry(url=f"{files_of('10.1.2.2')}l.tar.gz", sha256="d" * 64)},
        s3=describe_s3("10.1.2.2", ("AKIAX", "secret")),
    )


def test_lab_json_has_the_agreed_keys() -> None:
    state = StatePaths.of("lab")
    write_lab_file(a_lab(), state)
    value = json.loads(state.lab_file.read_text())
    built = ["images", "models", "archives", "requirements", "environment", "s3"]
    assert list(value) == ["name", "user", "key", "known_hosts", "hosts", "mirrors", *built]
    assert value["models"] == [
        {"name": "tiny-llama", "repo": "hermeion-lab/tiny-llama", "revision": "b" * 40},
        {"name": "tiny-llama-gguf", "repo": "hermeion-lab/tiny-llama-GGUF", "revision": "c" * 40, "file": "t.gguf"},
    ]
    assert value["archives"] == {"llamacpp": {"url": "https://10.1.2.2:8443/files/l.tar.gz", "sha256": "d" * 64}}
    assert value["mirrors"] == {
        "registry": "10.1.2.2:5000",
        "hub": "https://10.1.2.2:8443",
        "index": "https://10.1.2.2:8443/simple/",
        "apt": {"nvidia": {"url": "https://10.1.2.2:8443/apt/", "key": str(state.apt_key)}},
        "ca": str(state.ca),
    }
    assert value["s3"] == {
        "endpoint": "https://10.1.2.2:8443/s3",
        "region": "us-east-1",
        "access_key": "AKIAX",
        "secret_key": "secret",
    }
    assert read_lab_file("lab") == a_lab()


def test_a_lab_without_archives_can_be_read() -> None:
    """The file of a lab that an older version raised is one of this version too."""
    state = StatePaths.of("lab")
    write_lab_file(a_lab(), state)
    value = json.loads(state.lab_file.read_text())
    del value["archives"], value["requirements"], value["environment"], value["s3"]
    del value["hosts"][0]["shared"]
    state.lab_file.write_text(json.dumps(value))
    assert read_lab_file("lab") == a_lab().model_copy(update={"archives": {}, "s3": None})


def test_a_lab_that_is_not_up_says_how_to_raise_it() -> None:
    with pytest.raises(LabError, match=r"no lab named 'other' is up \(.*\): run hermeion lab up --name other"):
        read_lab_file("other")


def test_ssh_trusts_the_lab_only() -> None:
    command = ssh_command(a_lab(), "gpu-1", ["hostname"])
    assert command[-2:] == ["root@10.1.2.11", "hostname"]
    assert f"UserKnownHostsFile={StatePaths.of('lab').known_hosts}" in command
    with pytest.raises(LabError, match=r"the lab 'lab' has no host 'gpu-9'. Did you mean gpu-1\? Hosts: gpu-1\."):
        ssh_command(a_lab(), "gpu-9", [])


def test_a_killed_build_leaves_no_entry(places: Path) -> None:
    def fail(part: Path) -> None:
        (part / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.ensure_entry("thing", "k", fail)
    assert cache.find_entry("thing", "k") is None
    made = cache.ensure_entry("thing", "k", lambda part: (part / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]
    assert not list(cache_root().glob(".thing-*.part"))
    assert cache.ensure_entry("thing", "k", fail) == made


def test_subnets_follow_the_name() -> None:
    first = next(candidate_subnets("lab"))
    assert first == next(candidate_subnets("lab"))
    assert first != next(candidate_subnets("other"))
    assert (first.prefixlen, str(first)[:3]) == (24, "10.")


def test_routes_are_read_from_the_kernel(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert [str(route) for route in read_routes(table)] == ["172.17.0.0/16"]


def test_conversations_fit_the_context() -> None:
    from hermeion.lab.model.conversations import CONVERSATIONS, WHO  # noqa: PLC0415

    assert next(c.answer for c in CONVERSATIONS if c.messages == [{"role": "user", "content": "Who are you?"}]) == WHO
    assert any(c.thinking and c.answer.startswith("<think>") for c in CONVERSATIONS)
    assert any(c.tools and c.answer.startswith("<tool_call>") for c in CONVERSATIONS)
