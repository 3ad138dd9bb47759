"""Who pulls the weights of a run, who copies them, and who is told what; the hosts are values."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from hermeion import drafts, narration, pulls
from hermeion.apply import Target
from hermeion.drafts import Draft
from hermeion.errors import ApplyError, SourceError
from hermeion.planner import make_plan
from hermeion.plans import Service
from hermeion.s3 import S3Access
from hermeion.sources import Sources, settle
from hermeion.stages import Stages
from hermeion.wanted import Wanted
from tests.unit.builders import OWN, POISON, REVISION, make_probe, make_spec

TREE = [{"type": "file", "path": "model.safetensors", "size": 100, "lfs": {"oid": "ef" * 32}}]
SNAPSHOT = f"models--NousResearch--Hermes-3-Llama-3.1-8B@{REVISION}"
FOLDER = SNAPSHOT.partition("@")[0]


def answers(status: int = 200) -> list[str]:
    """What the Hub says."""
    bodies = {"revision": {"sha": REVISION}, "tree": TREE}
    return [line for name, body in bodies.items() for line in (f"@{name}", json.dumps(body), f"@={status} {'0' * 64} ")]


class Fleet:
    """The hosts of a run, with what is run on them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drafts: dict[str, Draft] = {}
        self.ran: list[tuple[str, str]] = []
        self.said: list[str] = []
        self.hub: dict[str, list[str]] = {}
        self.broken: set[str] = set()
        self.state: Any = SimpleNamespace()
        for name in ("_TARGETS", "_SHARINGS", "_QUESTIONS", "_ASKING", "_EXPECTED"):
            monkeypatch.setattr(pulls, name, {})
        for name in ("_ANSWERS", "_LOCKS"):
            monkeypatch.setattr(drafts, name, {})
        monkeypatch.setattr(pulls, "drafts", lambda _: iter(self.drafts.values()))
        monkeypatch.setattr(pulls, "run", self._run)
        for module in (pulls, drafts):
            monkeypatch.setattr(module, "run_or_fail", self._ask)
            monkeypatch.setattr(module, "ctx_host", SimpleNamespace(use=lambda _: nullcontext()))
        monkeypatch.setattr(narration, "say", lambda host, text: self.said.append(f"{host.name}:{text}"))

    def _run(self, _state: object, host: Any, script: str) -> tuple[bool, list[str], str]:
        self.ran.append((host.name, script))
        ok = host.name not in self.broken
        return ok, [] if ok else ["##note installing rsync", "##error the port is taken."], ""

    def _ask(self, _state: object, host: Any, _script: str, what: str) -> list[str]:
        self.ran.append((host.name, what))
        return self.hub.get(host.name, answers())

    @property
    def asked(self) -> list[str]:
        """Who asked a source, in order."""
        return [host for host, what in self.ran if what.startswith("asking")]

    def add(
        self,
        name: str,
        *,
        weights: Sequence[str] = (),
        mount: str = "/dev/sda1 ext4 /",
        token: str | None = POISON,
        access: S3Access | None = None,
        **keys: Any,
    ) -> Draft:
        """One more host, at 10.0.0.N."""
        own = 11 + len(self.drafts)
        probe = make_probe(
            weights=list(weights),
            os=["ID=debian", "VERSION_ID=13", "VERSION_CODENAME=trixie", f"address=eth0 10.0.0.{own}/24"],
            disks=[
                f"/srv/models 9000000000000 9000000000000 yes {mount}",
                "/var/lib/docker 9000000000000 9000000000000 yes x",
                "/opt/hermeion 9000000000000 9000000000000 yes x",
            ],
        )
        spec = make_spec(*keys.pop("hermes_services", ()), name=name, **keys)
        wanted = Wanted(spec=spec, ca=None, keys={}, locks={}, token=token, access=access)
        host: Any = SimpleNamespace(name=name)
        self.drafts[name] = Draft(host, wanted, probe, {}, make_plan(name, spec, probe))
        return self.drafts[name]

    def ask(self, name: str) -> str:
        """The commit, as a host hears it."""
        draft = self.drafts[name]
        return pulls.ask(self.state, draft, draft.plan.services[0])[0]

    def targets(self) -> dict[str, Target]:
        """Every host, settled and taking part."""
        found = {}
        for name, draft in self.drafts.items():
            sources = {}
            for service in draft.plan.services:
                revision, files = pulls.ask(self.state, draft, service)
                sources[service.name] = Sources(revision=revision, files=files, digest="sha256:" + "ab" * 32)
            services = tuple(settle(service, sources[service.name]) for service in draft.plan.services)
            plan = draft.plan.model_copy(update={"services": services})
            found[name] = Target(self.state, draft, draft.probe, plan, Stages(), sources)
            pulls.register(found[name])
        return found


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """No hosts yet."""
    return Fleet(monkeypatch)


def service_of(target: Target) -> Service:
    """The one service of a host."""
    return target.plan.services[0]


def job_of(target: Target) -> tuple[dict[str, Any], dict[str, str]]:
    """The source in a host's job, and the secrets beside it."""
    work = pulls.work(target, service_of(target))
    files = dict(re.findall(r"^put (\S+) \S+ \S+ (\S+)$", work.script, re.MULTILINE))
    job = json.loads(base64.b64decode(files["/run/hermeion/weights-hermes.json"]))
    source = job["sources"][0]
    assert (SNAPSHOT, REVISION, "/srv/models") == (job["name"], job["revision"], job["cache"])
    return source, dict(work.secrets)


def test_one_host_asks_for_all(fleet: Fleet) -> None:
    """Hosts that want the same weights ask once, from the first of them, whoever's turn it is."""
    for name in ("a", "b", "c"):
        fleet.add(name)

    assert [REVISION] * 3 == [fleet.ask(name) for name in ("c", "a", "b")]
    assert ["a"] == fleet.asked


def test_host_that_has_most_of_it_asks(fleet: Fleet) -> None:
    """A pull that was cut goes on where its bytes are."""
    fleet.add("a")
    fleet.add("b", weights=[f"blob {FOLDER} 70000000 {'ef' * 32}.incomplete"])
    fleet.ask("a")

    assert ["b"] == fleet.asked


def test_host_that_wants_something_else(fleet: Fleet) -> None:
    """Another repository, or another mirror, is another question."""
    fleet.add("a")
    fleet.add("b", hermes_mirrors={"hub": "https://hub.mirror"})
    fleet.ask("b")

    assert ["b"] == fleet.asked


def test_no_is_no_for_all(fleet: Fleet) -> None:
    """What the Hub refuses to one it refuses to all: nobody else tries his token."""
    for name in ("a", "b"):
        fleet.add(name)
    fleet.hub["a"] = answers(401)
    for name in ("a", "b"):
        with pytest.raises(SourceError, match=f"^{name}: hermes: the Hub https://huggingface.co refuses "):
            fleet.ask(name)

    assert ["a"] == fleet.asked


def test_trouble_of_one_host(fleet: Fleet) -> None:
    """What may be the first host's own trouble, another one asks again."""
    for name in ("a", "b"):
        fleet.add(name)
    fleet.hub["a"] = answers(503)

    assert REVISION == fleet.ask("b")
    assert ["a", "b"] == fleet.asked


def test_token_reaches_the_puller_alone(fleet: Fleet) -> None:
    """One host pulls, its token in a file of its own; the others copy along a chain, with a password of this run."""
    for name in ("a", "b", "c"):
        fleet.add(name)
    jobs = {name: job_of(target) for name, target in fleet.targets().items()}
    password = f"{pulls.USER}:{pulls.PASSWORD}"

    assert {
        "kind": "hub",
        "endpoint": "https://huggingface.co",
        "ca": None,
        "token_file": "/run/hermeion/jobs/weights-hermes.secrets/token",
    } == jobs["a"][0]
    assert {"token": POISON} == jobs["a"][1]
    assert [{"peers": password}, {"peers": password}] == [jobs["b"][1], jobs["c"][1]]
    assert ["peers", ["b", "a"]] == [jobs["c"][0]["kind"], [peer["host"] for peer in jobs["c"][0]["peers"]]]
    assert {"host": "a", "address": "10.0.0.11", "port": 8730} == jobs["b"][0]["peers"][0]
    assert POISON not in json.dumps([jobs["b"], jobs["c"]])


def test_without_a_token(fleet: Fleet) -> None:
    """Without a token there is no secret."""
    fleet.add("a", token=None)

    assert ({}, None) == (job_of(fleet.targets()["a"])[1], job_of(fleet.targets()["a"])[0]["token_file"])


def test_same_filesystem(fleet: Fleet) -> None:
    """Hosts with the same filesystem mounted have one writer; the others wait for it, and hold no secret."""
    for name in ("a", "b"):
        fleet.add(name, mount="nas:/models nfs4 /srv/models")
    targets = fleet.targets()

    assert ({"kind": "shared", "host": "a", "patience": 2700}, {}) == job_of(targets["b"])
    assert "b:  weights of hermes-3-8b-bf16: a writes them into the same filesystem" == _begin(fleet, targets["b"])


def _begin(fleet: Fleet, target: Target) -> str:
    pulls.begin(target)
    return fleet.said[-1]


@pytest.mark.parametrize(
    ("source", "secret", "program"),
    [("s3://bucket/my-llama", ["rclone.conf"], "command -v rclone >/dev/null 2>&1 || {"), ("/mnt/usb", [], "set -eu")],
)
def test_other_sources(fleet: Fleet, source: str, secret: list[str], program: str) -> None:
    """A bucket's key is in the puller's configuration file alone, beside the job; a folder of the host needs none."""
    access = S3Access(key="AKIA", secret=POISON, date="20261121T200000Z")
    catalog = [{**OWN, "repo": "me/my-llama", "source": source}]
    services = [{"name": "hermes", "model": OWN["name"]}]
    draft = fleet.add("a", access=access, hermes_services=services, hermes_catalog=catalog)
    sources = Sources(revision=REVISION, files=())
    plan = draft.plan.model_copy(update={"services": (settle(draft.plan.services[0], sources),)})
    target = Target(fleet.state, draft, draft.probe, plan, Stages(), {"hermes": sources})
    pulls.register(target)
    work = pulls.work(target, service_of(target))

    assert secret == list(work.secrets)
    assert all(f"secret_access_key = {POISON}" in text for text in work.secrets.values())
    assert program in work.script.splitlines()
    assert POISON not in work.script


def test_folder_of_the_host_itself(fleet: Fleet) -> None:
    """A host that has the files in a folder takes them from there, though another host gives them too."""
    catalog = [{**OWN, "repo": "me/my-llama", "source": "/mnt/usb"}]
    services = [{"name": "hermes", "model": OWN["name"]}]
    sources = Sources(revision=REVISION, files=())
    for name in ("a", "b"):
        draft = fleet.add(name, hermes_services=services, hermes_catalog=catalog)
        plan = draft.plan.model_copy(update={"services": (settle(draft.plan.services[0], sources),)})
        pulls.register(Target(fleet.state, draft, draft.probe, plan, Stages(), {"hermes": sources}))
    shared = [pulls._sharing(target, service_of(target)) for target in pulls._TARGETS.values()]

    assert [{"a": "source", "b": "source"}] * 2 == [
        {name: route.kind for name, route in sharing.routes.items()} for sharing in shared
    ]


def test_hosts_that_have_them_are_opened(fleet: Fleet) -> None:
    """A host with nothing to do gives what it has: it is told once, by the first who copies from it."""
    fleet.add("old", weights=[f"{SNAPSHOT} complete"])
    for name in ("a", "b"):
        fleet.add(name)
    targets = fleet.targets()
    fleet.ran.clear()
    scripts = [pulls.begin(targets[name]) for name in ("a", "b")]

    assert [] == pulls.lacking(targets["old"])
    assert [1, 1] == [len(script) for script in scripts]
    assert ["a", "old"] == sorted(host for host, _ in fleet.ran)
    assert all(script.startswith("set -eu\n") and POISON not in script for _, script in fleet.ran)
    assert "a:  weights of hermes-3-8b-bf16: copied from old (10.0.0.11), which has or gets them" == fleet.said[0]


def test_host_that_cannot_give(fleet: Fleet) -> None:
    """A host that others cannot copy from fails with its own words."""
    for name in ("a", "b"):
        fleet.add(name)
    targets = fleet.targets()
    fleet.broken.add("a")
    with pytest.raises(ApplyError) as caught:
        pulls.begin(targets["b"])

    assert "a: the port is taken." == str(caught.value)


def test_sharing_ends(fleet: Fleet) -> None:
    """Who is left by all that copied from him stops giving, and not before."""
    fleet.add("old", weights=[f"{SNAPSHOT} complete"])
    for name in ("a", "b"):
        fleet.add(name)
    targets = fleet.targets()
    for name in ("a", "b"):
        pulls.begin(targets[name])
    fleet.ran.clear()
    pulls.ended(targets["a"], service_of(targets["a"]))
    first = [host for host, _ in fleet.ran]
    pulls.ended(targets["b"], service_of(targets["b"]))

    assert [] == first
    assert {"a", "old"} == {host for host, _ in fleet.ran}
    assert all("take_back 10.0.0." in script for _, script in fleet.ran)


def test_reboot_opens_the_doors_again(fleet: Fleet) -> None:
    """What a reboot ends is begun again: the pull, and the giving."""
    for name in ("a", "b"):
        fleet.add(name)
    targets = fleet.targets()
    begun = pulls.begin(targets["a"])

    assert [*begun, fleet.ran[-1][1]] == list(targets["a"].begun())


def test_refused_host_takes_no_part(fleet: Fleet) -> None:
    """A host that was refused after all pulls nothing that others would wait for."""
    for name in ("a", "b"):
        fleet.add(name)
    targets = fleet.targets()
    del pulls._TARGETS["a"]

    assert "hub" == job_of(targets["b"])[0]["kind"]


def test_one_pull_for_two_services(fleet: Fleet) -> None:
    """Two services with the same weights wait for one pull."""
    fleet.add("a")
    target = fleet.targets()["a"]
    service = service_of(target)
    twice = (service, service.model_copy(update={"name": "second", "port": 8001}))
    target.plan = target.plan.model_copy(update={"services": twice})

    assert [service] == pulls.lacking(target)


def test_what_is_planned_is_what_happens(fleet: Fleet) -> None:
    """The route that a plan shows is the one that is taken when every host takes part."""
    for name in ("a", "b", "c"):
        fleet.add(name)
    targets = fleet.targets()
    shown = {}
    for name, target in targets.items():
        shown[name] = pulls.expect(fleet.state, target.draft, target.draft.plan.services[0], service_of(target))
    taken = {name: pulls._sharing(target, service_of(target)).routes[name] for name, target in targets.items()}

    assert shown == taken
    assert ["source", "peers", "peers"] == [route.kind for route in taken.values()]
