"""Hosts in files: what is written, what is taken out of it, and what is refused when it is read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from hermeion.errors import ProbeError
from hermeion.planner import make_plan
from hermeion.probe import parse_probe
from hermeion.saved_hosts import canonical, dump_host, load_host, without_secrets
from hermeion.variants import ModelFacts, built_in_catalog
from tests.unit.builders import (
    H100,
    L40S,
    ROOT,
    RTX_4090,
    bare_text,
    converged_answers,
    final_plan,
    make_probe,
    make_spec,
    probe_text,
)

FACTS = ModelFacts(
    revision="ab" * 20, precision="bf16", bytes=16_060_522_496, shape=built_in_catalog()["hermes-3-8b"][0].shape
)
AGAIN = "Make it anew: hermeion probe INVENTORY --save DIR."

PROBES = {
    "one": probe_text([RTX_4090]),
    "eight": probe_text([H100] * 8),
    "bare": bare_text([L40S] * 2),
    "converged": probe_text(**converged_answers(final_plan())),
    "half pulled": probe_text(
        os=("ID=debian", "address=eth0 10.0.0.5/24", "address=eth0 fd00::5/64"),
        disks=["/srv/models 20 10 yes nas:/a\\x20b nfs4 /srv", "/var/lib/docker 20 10 yes", "/opt/hermeion 20 10 yes"],
        weights=["models--me--m@abc damaged", "blob models--me--m 4194304 ab.incomplete"],
    ),
}


@pytest.mark.parametrize("name", sorted(PROBES))
def test_what_is_saved_comes_back(name: str) -> None:
    """Everything that a plan is made from survives the file; only hashes of private files are left out."""
    probe = parse_probe(PROBES[name].splitlines())
    back = load_host(dump_host("gpu-1", probe, {"mine": FACTS}), "x.json")

    assert ("gpu-1", {"mine": FACTS}) == (back.host, back.models)
    assert probe.model_copy(update={"files": {}}) == back.probe.model_copy(update={"files": {}})
    assert set(probe.files) == set(back.probe.files)


def test_same_plan_from_a_file() -> None:
    """A plan from a file is the plan from the host."""
    probe = make_probe([L40S] * 2)
    back = load_host(dump_host("gpu-1", probe), "x.json")

    assert make_plan("gpu-1", make_spec(), probe) == make_plan("gpu-1", make_spec(), back.probe)


def test_same_host_same_text() -> None:
    """The text does not depend on the order of sets, which differs from one process to the next."""
    script = (
        "from tests.unit.builders import *; from hermeion.saved_hosts import dump_host; "
        "print(dump_host('gpu-1', make_probe([H100] * 8)), end='')"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert {dump_host("gpu-1", make_probe([H100] * 8)).encode()} == texts


def test_sets_are_sorted() -> None:
    """A set becomes a list in order, also one of pairs."""
    assert [["a", "b"], ["b", "a"]] == canonical(frozenset({("b", "a"), ("a", "b")}))


def dumped(daemon_json: str) -> str:
    """Docker's configuration as a file has it."""
    text: str = json.loads(dump_host("gpu-1", make_probe(daemon_json=daemon_json)))["probe"]["daemon_json"]
    return text


@pytest.mark.parametrize(
    "daemon_json",
    [
        '{"proxies": {"http-proxy": "http://me:POISON@proxy.example:3128"}}',
        '{"proxies": {"http-proxy": "http:\\/\\/me:POISON@proxy.example:3128"}}',
        '{"proxies": {"https-proxy": "me:POISON@proxy.example:3128"}}',
        '{"registry-mirrors": ["https://me:POI@POISON@mirror.example/"]}',
        '{"log-opts": {"splunk-token": "POISON", "splunk-url": "https://POISON@splunk.example"}}',
        '{"log-opts": {"password": "POISON"}, "auth": "POISON"}',
        '{"registry-mirrors": ["https://mirror.example/v2/?a=b&access_token=POISON&c=d"]}',
        '{"proxies": {"http-proxy": "http://me:POISON@proxy.example:3128"},,',
        '{"proxies": {"http-proxy": "http:\\/\\/me:POISON@proxy.example:3128"},,',
        '{"log-opts": {"splunk-token": "POISON"},,',
    ],
)
def test_no_secret_of_docker_is_saved(daemon_json: str) -> None:
    """Passwords in URLs and values of keys that hold secrets are replaced, in a broken file too."""
    text = dumped(daemon_json)

    assert "POISON" not in text
    assert "REDACTED" in text


def test_what_is_no_secret_stays() -> None:
    """Docker's configuration is kept as it is if there is nothing to hide: an image's digest is no password."""
    text = (
        '{\n  "features": {"cdi": true},\n  "registry-mirrors": ["https://mirror.example:5000"], "data-root": "/a@b"}'
    )

    assert text == dumped(text)
    images = ("registry.example:5000/vllm/vllm-openai@sha256:" + "ab" * 32,)
    assert list(images) == without_secrets(make_probe(images=images))["images"]


def test_no_hash_of_a_private_file_is_saved() -> None:
    """Nobody gets a hash to guess the API keys with; of files that everybody may read the hash stays."""
    probe = make_probe(**converged_answers(final_plan()))
    files = without_secrets(probe)["files"]

    assert "" == files["/etc/hermeion/hermes/api-keys"]["sha256"]
    assert [path for path, file in files.items() if not file["sha256"]] == [
        path for path, file in probe.files.items() if file.mode.endswith("0")
    ]
    assert probe.files["/etc/hermeion/hermes/api-keys"].sha256 not in dump_host("gpu-1", probe)


def test_no_secret_of_a_release_is_saved() -> None:
    """An option of ``extra_args`` that looks like a secret is replaced in the release that runs."""
    plan = final_plan({"name": "hermes", "model": "hermes-3-8b", "extra_args": {"hf-token": "POISON", "seed": 1}})
    text = dump_host("gpu-1", make_probe(**converged_answers(plan)))

    assert "POISON" not in text
    assert "REDACTED" in text


def changed(**changes: Any) -> str:
    """A saved host with something else in it; ``None`` takes a key away."""
    data = json.loads(dump_host("gpu-1", make_probe()))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"x.json: broken: no JSON from line 1, column 1 on (Expecting value). {AGAIN}"),
        (
            '{"format": 1,\n "ho',
            f"x.json: broken: no JSON from line 2, column 2 on (Unterminated string starting at). {AGAIN}",
        ),
        ("[" * 100_000, f"x.json: broken: no JSON that can be read. {AGAIN}"),
        ("9" * 5000, f"x.json: broken: no JSON that can be read. {AGAIN}"),
        ("[]", "x.json: not a saved host. hermeion probe INVENTORY --save DIR makes one."),
        ("null", "x.json: not a saved host. hermeion probe INVENTORY --save DIR makes one."),
        ('{"name": "x"}', "x.json: not a saved host. hermeion probe INVENTORY --save DIR makes one."),
        (changed(format=1), f"x.json: format 1, this release reads format 2. {AGAIN}"),
        (changed(format="1"), f"x.json: format '1', this release reads format 2. {AGAIN}"),
        (changed(format=None), f"x.json: incomplete or foreign: format: is missing. {AGAIN}"),
        (changed(host=None), f"x.json: incomplete or foreign: host: is missing. {AGAIN}"),
        (changed(host=""), f"x.json: incomplete or foreign: host: string should have at least 1 character. {AGAIN}"),
        (changed(probe__kernel=None), f"x.json: incomplete or foreign: probe/kernel: is missing. {AGAIN}"),
        (
            changed(probe__os_id=None, probe__kernel=None),
            f"x.json: incomplete or foreign: probe/os_id: is missing (and 1 more). {AGAIN}",
        ),
        (changed(probe__more=1), f"x.json: incomplete or foreign: probe/more: is not known to this release. {AGAIN}"),
        (
            changed(probe__smi=[1]),
            "x.json: incomplete or foreign: probe/smi/0: input should be a valid dictionary or instance of SmiGpu. "
            f"{AGAIN}",
        ),
        (
            changed(models={"m": {}}),
            f"x.json: incomplete or foreign: models/m/revision: is missing (and 3 more). {AGAIN}",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read(text: str, message: str) -> None:
    """A file that is broken, foreign, or lacks something is one error with its name and the next step."""
    with pytest.raises(ProbeError, match=f"^{re.escape(message)}$"):
        load_host(text, "x.json")
