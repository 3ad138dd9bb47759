"""Weights: every fault of a source, of a host and of a run, met by the real deploy on lab hosts.

One machine plays many hosts of an inventory here, with a repository and a fault of its own for each; their engine
cannot be had, so that such a run ends where the weights are complete, or cannot be. The tests build on each other.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.lab.conftest import Run, hermeion, standing
from tests.lab.weights_world import MIB, Started, World, shards, traces, wait_for

NAME = "test-weights"
TOKEN = f"hf_{secrets.token_hex(20)}"
THREE = (MIB, MIB, MIB)
SECOND = "00002-of"
SLOW = {"bytes_per_second": 200_000}
AT_FIRST = {"bytes_per_second": 100_000, "times": 3}
HANGS = {"stall_after": 2 * MIB, "times": 3}
FULL = {"hermes_cache": "/srv/fills"}
SHARED = {"hermes_cache": "/srv/shared"}


class Began(NamedTuple):
    """The lab, and the run that goes on beside the tests from their beginning to their end."""

    world: World
    beside: Started


@pytest.fixture(scope="module")
def began(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Began]:
    """Three hosts with a driver, two of which share a folder, and a bare one; all is published, all faults are on."""
    hosts = [part for name in "abc" for part in ("--host", f"{name}=1xL40S+driver")]
    with standing(NAME, *hosts, "--host", "bare=1xL40S", "--shared", "/srv/shared=a,b:nfs4") as lab:
        world = World(lab, tmp_path_factory.mktemp("weights"))
        publish(world)
        lab.ssh("b", "printf 'umask 077\\n' > /root/.bashrc; mkdir -p /srv/small /srv/locked /srv/foreign /srv/fills; "
                "mount -t tmpfs -o size=300M tmpfs /srv/small; mount -t tmpfs -o ro tmpfs /srv/locked; "
                "chown 1234:1234 /srv/foreign; mount -t tmpfs -o size=1300M tmpfs /srv/fills")  # fmt: skip
        image = lab.data["images"]["llamacpp"]
        bare = lab.gguf_service(model="overlap", port=8002, runtime="compose", image=image)
        real, data = world.serve("bare", "overlap", hermes_services=[bare])
        beside = world.start(world.inventory({"bare": (real, data), "stalled": world.host("a", "stalled")}))
        yield Began(world, beside)
        beside.kill()


def publish(world: World) -> None:
    """All repositories with their faults."""
    lab = world.lab
    for name in ("plain", "ask401", "ask403", "ask503", "norevision", "foreign"):
        world.repo(name, *THREE)
    world.repo("file403", *THREE, statuses={"status": 403, "path": ".*00002-of"})
    world.repo("file404", *THREE, statuses={"status": 404, "error_code": "EntryNotFound", "path": ".*00002-of"})
    world.repo("longer", *THREE, bodies={"path": ".*00002-of", "length": 2 * MIB})
    world.repo("other", *THREE, bodies={"path": ".*00002-of", "corrupt": True})
    world.repo("other-once", *THREE, bodies={"path": ".*00002-of", "corrupt": True, "times": 1})
    world.repo("wait429", *THREE, statuses={"status": 429, "retry_after": 2, "times": 1})
    world.repo("bare429", *THREE, statuses={"status": 429, "times": 2})
    world.repo("busy503", *THREE, statuses={"status": 503, "times": 2})
    world.repo("dropped", 6 * MIB, bodies={"drop_after": 2 * MIB, "times": 2})
    world.repo("slow", 6 * MIB, bodies={"bytes_per_second": 300_000})
    world.repo("redirected", *THREE, redirects={})
    world.repo("spaces", MIB, MIB, names=("m-00001-of-00002.gguf", "m-00002 of two-of-00002.gguf"))
    world.repo("stalled", MIB, 2 * MIB, bodies={"path": ".*00002-of", "stall_after": MIB, "times": 1})
    world.repo("fills", 4 * MIB, 4 * MIB, 4 * MIB, bodies=AT_FIRST)
    for name in ("run-killed", "both"):
        world.repo(name, 4 * MIB, 4 * MIB, 4 * MIB, bodies=SLOW)
    for name in ("puller-killed", "rebooted", "twice"):
        world.repo(name, 4 * MIB, 4 * MIB, 4 * MIB, bodies=HANGS)
    world.model("overlap", 24 * MIB)
    world.model("tiny", 24 * MIB)
    world.knobs["statuses"] += [{"path": f"^/api/models/w/ask{status}/", "status": status} for status in (403, 503)]
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    world.knobs["tokens"] = [{"path": f"/w/{name}/", "sha256": digest} for name in ("ask401", "tiny")]
    world.knobs["bodies"] += [
        {"path": "/w/overlap/resolve/", "times": 1},  # the header alone, then all, for longer than the driver takes
        {"path": "/w/overlap/resolve/", "bytes_per_second": 50_000, "times": 1},
        {"path": "/w/tiny/resolve/", "stall_after": 8 * MIB},
    ]
    world.turn()
    content = {name: secrets.token_bytes(MIB) for name in shards(3)}
    world.publish("bucket", content, bucket="s3://weights")
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    world.elsewhere("bucket", "s3://weights", sums, MIB)
    names = " ".join(shards(3))
    made = "mkdir -p /srv/usb/folder; cd /srv/usb/folder; "
    made += f"for name in {names}; do head -c {MIB} /dev/urandom > $name; done; sha256sum {names} | tee SHA256SUMS"
    lines = [line.split() for line in lab.ssh("b", made).splitlines()]
    world.elsewhere("folder", "/srv/usb/folder", {name: digest for digest, name in lines}, MIB)


@pytest.fixture(scope="module")
def world(began: Began) -> World:
    """The lab with what is published in it."""
    return began.world


@pytest.fixture(scope="module")
def refused(world: World) -> Run:
    """A run in which nothing can be begun."""
    hosts = {f"host-{name}": world.host("a", name) for name in ("ask401", "ask403", "ask503", "norevision")}
    hosts["host-norevision"][1]["hermes_catalog"] = [world.repos["norevision"].entry | {"revision": "0" * 40}]
    real, data = world.host("a", "plain")
    hosts["host-norepo"] = real, data | {"hermes_catalog": [world.repos["plain"].entry | {"repo": "w/none"}]}
    hosts["host-full"] = world.host("b", "plain", hermes_cache="/srv/small")
    hosts["host-locked"] = world.host("b", "plain", hermes_cache="/srv/locked")
    return world.run(hosts)


GATED = (
    "it is gated, private, or does not exist. Check the name, accept its terms on the Hub, and pass a token: export "
    "HF_TOKEN=hf_…, then run again."
)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ask401", f"ask401: the Hub HUB refuses w/ask401 (401): {GATED}"),
        ("ask403", f"ask403: the Hub HUB refuses w/ask403 (403): {GATED}"),
        ("norepo", f"plain: the Hub HUB refuses w/none (401): {GATED}"),
        (
            "norevision",
            f"norevision: the Hub HUB has no w/norevision at revision {'0' * 40} (404). Check repo and revision of "
            "the model in hermes_catalog.",
        ),
        ("ask503", "ask503: the Hub HUB answers 503. Nothing was changed; try again later."),
        (
            "full",
            "no room for the weights of plain: 1076887552 bytes (1.0 GiB) are needed at /srv/small, 314572800 "
            "(300.0 MiB) are free. Free some or choose another filesystem.",
        ),
        (
            "locked",
            "hermes_cache /srv/locked is on a read-only filesystem (tmpfs). Remount it read-write or choose another "
            "folder.",
        ),
    ],
)
def test_refused_before_anything_is_changed(world: World, refused: Run, name: str, message: str) -> None:
    """What the Hub refuses, and what has no room or may not be written, is refused in one sentence."""
    hub = world.lab.data["mirrors"]["hub"]
    assert f"host-{name}: {message.replace('HUB', hub)}" == refused.report["failed"][f"host-{name}"]


ON_A = ("twice", "file403", "longer", "other-once", "bare429", "dropped", "redirected", "bucket", "run-killed")
ON_B = ("file404", "other", "wait429", "busy503", "slow", "spaces", "folder", "puller-killed")


@pytest.fixture(scope="module")
def cut(world: World, refused: Run) -> Run:
    """Everything is pulled, and some of it is cut in the middle: run, puller, host and disk."""
    del refused  # it was before
    hosts = {name: world.host("a", name) for name in ON_A if name not in {"run-killed", "twice"}}
    hosts |= {name: world.host("b", name) for name in ON_B} | {"fills": world.host("b", "fills", **FULL)}
    hosts |= {
        "foreign": world.host("b", "foreign", hermes_cache="/srv/foreign"),
        "rebooted": world.host("c", "rebooted"),
        "both-a": world.host("a", "both", **SHARED),
        "both-b": world.host("b", "both", **SHARED),
        "again": world.host("a", "twice", hermes_services=[world.service("again", model="twice")]),
    }
    world.lab.ssh("b", "mount -o remount,bind,ro /srv/shared")
    store = world.lab.data["s3"]
    keys = {"AWS_ACCESS_KEY_ID": store["access_key"], "AWS_SECRET_ACCESS_KEY": store["secret_key"]}
    run = world.start(world.inventory(hosts), HF_TOKEN=TOKEN, **keys)
    killed = world.start(world.inventory({name: world.host("a", name) for name in ("run-killed", "twice")}))
    sizes = {"run-killed": MIB, "puller-killed": 6 * MIB, "rebooted": 6 * MIB, "fills": MIB}
    waiting = {*sizes, "twice"}

    def some() -> bool:
        for name in [name for name in waiting & {*sizes} if world.served(name, ".gguf") >= sizes[name]]:
            waiting.remove(name)
            if name == "run-killed":
                killed.kill()
            elif name == "puller-killed":
                world.lab.ssh("b", "systemctl kill -s KILL hermeion-weights-puller-killed")
            elif name == "rebooted":
                world.lab.ssh("c", "systemctl reboot", check=False)
            else:
                used = "$(df -k --output=used /srv/fills | tail -n 1)"
                world.lab.ssh("b", f"mount -o remount,size=$(({used} + 4096))k /srv/fills")
        if "twice" in waiting and (holder := lock_holder(world)):
            waiting.remove("twice")
            world.lab.ssh("a", f"systemctl kill -s KILL hermeion-weights-{holder}")
        return not waiting or run.process.poll() is not None

    wait_for(some, 600)
    done = run.wait(600)
    world.lab.ssh("b", "mount -o remount,size=1300M /srv/fills")
    return done


def lock_holder(world: World) -> str:
    """Which of the two pulls of the same weights the other one waits for; empty while none waits."""
    waits = r"(?m)^##note \S+ \(process \d+\) pulls the same weights since \S+; waiting for it$"
    pulls = {"again": "twice", "twice": "again"}
    return next((other for name, other in pulls.items() if re.search(waits, world.log("a", name))), "")


SUMS = "promised was [0-9a-f]{64}, found [0-9a-f]{64}"
KEPT = "look whether a proxy or a mirror changes files, and run again"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "file403",
            r"w/file403 at HUB refuses the token that was given \(403 GatedRepo\): accept the terms of the repository "
            "with the account of the token, see that the token may read it and has not ended, and run again.",
        ),
        (
            "file404",
            r"w/file404 at HUB has no file m-00002-of-00003.gguf at commit [0-9a-f]{40} \(404 EntryNotFound\); look at "
            "the files of the catalogue entry, or whether the mirror is complete, and run again.",
        ),
        (
            "longer",
            "w/longer: m-00002-of-00003.gguf has 2097152 bytes, promised were 1048576, twice. Nothing of it was kept: "
            f"{KEPT}.",
        ),
        (
            "other",
            f"w/other: m-00002-of-00003.gguf has the right size and other bytes: {SUMS}, twice. Nothing of it was "
            f"kept: {KEPT}.",
        ),
        (
            "fills",
            r"/srv/fills: the disk is full, and \d.\d MiB of 12.0 MiB are missing. What has come stays: free some "
            r"\(`hermeion cache prune` shows what may go\) and run again.",
        ),
        ("puller-killed", "the job was killed. Run again."),
        ("rebooted", "the job was killed. Run again."),
    ],
)
def test_what_fails_says_why(world: World, cut: Run, name: str, message: str) -> None:
    """A fault that stays ends the pull of its host alone, in a sentence, and nothing counts as complete."""
    said = cut.report["failed"][name]
    assert re.fullmatch(f"{name}: weights of {name}: {message}".replace("HUB", world.lab.data["mirrors"]["hub"]), said)
    real = "c" if name == "rebooted" else "a" if name in ON_A else "b"
    assert not world.has(real, name, FULL["hermes_cache"] if name == "fills" else "/srv/models")


@pytest.mark.parametrize(
    ("name", "note", "more"),
    [
        (
            "other-once",
            f"m-00002-of-00003.gguf has the right size and other bytes: {SUMS}; fetched again from the start",
            MIB,
        ),
        ("wait429", "the Hub HUB answers 429, next try in 2 s", 0),
        ("bare429", r"the Hub HUB answers 429, next try in (0\.[789]|1|1\.[123]) s", 0),
        ("busy503", r"the Hub HUB answers 503, next try in (0\.[789]|1|1\.[123]) s", 0),
        ("dropped", r"the Hub HUB cut m-00001-of-00001.gguf after 2097152 of 6291456 bytes, next try in \S+ s", 0),
        ("slow", None, 0),
        ("redirected", None, 0),
        ("spaces", None, 0),
    ],
)
def test_what_passes_is_waited_for(world: World, cut: Run, name: str, note: str | None, more: int) -> None:
    """A fault that passes costs a wait and no byte twice but wrong ones; the weights are right then."""
    assert world.has("a" if name in ON_A else "b", name)
    assert world.served(name, ".gguf") - world.repos[name].total in range(more, more + 1000), "each byte came once"
    if note:
        hub = world.lab.data["mirrors"]["hub"]
        assert re.search(f"(?m)^##note {note.replace('HUB', hub)}$", world.log("a" if name in ON_A else "b", name))


def test_progress_is_told(cut: Run) -> None:
    """Of a slow pull bytes, rate and time left are shown, of one in several files those too."""
    assert re.search(r"\[slow\] +weights of slow: \S+ [KM]iB of 6.0 MiB \(\d+ %\), \S+ [KM]iB/s, .* left", cut.text)
    assert re.search(r"\[fills\] +weights of fills: .* left, 0 of 3 files", cut.text)


def test_a_redirect_takes_no_token_along(world: World, cut: Run) -> None:
    """The Hub is given the token, and the other host that it sends to is not."""
    rows = [(row["origin"], row["authorized"], row["status"]) for row in world.asked("redirected")]
    assert {("hub", True, 302), ("cdn", False, 200)} == set(rows)


def test_a_cache_of_another_user_stays_theirs(world: World, cut: Run) -> None:
    """What is written into a cache belongs to the owner of its folder."""
    assert world.has("b", "foreign", "/srv/foreign")
    assert "" == world.lab.ssh("b", "find /srv/foreign ! -user 1234")


def test_umask_of_the_login_does_not_count(world: World, cut: Run) -> None:
    """Where root's shell has umask 077, engines can read the weights and the puller's environment all the same."""
    assert "0077" == world.lab.ssh("b", "umask").strip()
    readable = "find /srv/models /opt/hermeion ! -type l ! -perm -o=r"
    assert "" == world.lab.ssh("b", readable)


@pytest.mark.parametrize(("real", "name"), [("a", "bucket"), ("b", "folder")])
def test_other_sources(world: World, cut: Run, real: str, name: str) -> None:
    """Weights come from a bucket by rclone and from a folder of the host, checked against their SHA256SUMS."""
    assert world.has(real, name)
    place = {"bucket": "the bucket s3://weights", "folder": "the folder /srv/usb/folder"}[name]
    assert f"##fact source {place}\n" in world.log(real, name)


def test_two_runs_at_once_pull_once(world: World, cut: Run) -> None:
    """Of two pulls of the same weights, by two runs, one waits; when the other is killed, it goes on in its place."""
    assert lock_holder(world), "one says that it waits for the other"
    assert world.has("a", "twice")
    assert world.served("twice", ".gguf") - world.repos["twice"].total in range(3 * MIB)


def test_of_hosts_with_a_shared_cache_one_pulls(world: World, cut: Run) -> None:
    """One host writes into the shared folder, and the other, which may only read there, waits and sees it complete."""
    assert re.search(r"\[both-b\] +weights of both: both-a writes them into the same filesystem", cut.text)
    assert world.has("b", "both", SHARED["hermes_cache"])
    assert world.repos["both"].total == world.served("both", ".gguf")


class Repaired(NamedTuple):
    """The run after the cuts and after damage: bytes of the origin's files before it, and its end."""

    before: dict[str, int]
    states: dict[str, str]
    run: Run


DAMAGED = {"busy503": "b", "wait429": "b", "bare429": "a"}


@pytest.fixture(scope="module")
def repaired(world: World, cut: Run) -> Repaired:
    """What was cut goes on; of what was complete a file is truncated, one is changed, and two have changed places."""
    del cut
    wanted = {name: world.host(real, name) for name, real in DAMAGED.items()}
    file = {name: world.repos[name].snapshot() for name in DAMAGED}
    world.lab.ssh("b", f"truncate -s 300000 $(readlink -f {file['busy503']}/m-00001-of-00003.gguf)")
    world.lab.ssh("b", f"printf spoilt | dd of=$(readlink -f {file['wait429']}/m-00001-of-00003.gguf) conv=notrunc")
    world.lab.ssh("a", f"cd {file['bare429']}; x=$(readlink -f *1-of*) y=$(readlink -f *2-of*); "
                       "mv $x /srv/x; mv $y $x; mv /srv/x $y")  # fmt: skip
    inventory = world.inventory({name: wanted[name] for name in ("busy503", "bare429")})
    listed = hermeion("cache", "ls", str(inventory), "--json", lab=NAME)
    caches = json.loads(listed.text)["caches"]
    states = {row["repo"]: row["state"] for cache in caches for row in cache["snapshots"]}
    wanted |= {"run-killed": world.host("a", "run-killed"), "puller-killed": world.host("b", "puller-killed")}
    wanted |= {"fills": world.host("b", "fills", **FULL), "rebooted": world.host("c", "rebooted")}
    before = {name: world.served(name, ".gguf") for name in wanted}
    return Repaired(before, states, world.run(wanted))


@pytest.mark.parametrize(
    ("name", "real", "cache"),
    [
        ("run-killed", "a", "/srv/models"),
        ("puller-killed", "b", "/srv/models"),
        ("rebooted", "c", "/srv/models"),
        ("fills", "b", FULL["hermes_cache"]),
    ],
)
def test_what_was_cut_goes_on(world: World, repaired: Repaired, name: str, real: str, cache: str) -> None:
    """After a cut of run, puller, host or disk the next run brings the rest; what connections held comes twice."""
    assert world.has(real, name, cache)
    total = world.repos[name].total
    assert world.served(name, ".gguf") - total in range(3 * MIB), "of 6 MiB or more, in three files read by the MiB"
    if name == "run-killed":
        assert total == repaired.before[name], "the job went on without its run"


@pytest.mark.parametrize(("name", "most"), [("busy503", MIB), ("wait429", MIB), ("bare429", 2 * MIB)])
def test_damage_is_seen_and_mended_alone(world: World, repaired: Repaired, name: str, most: int) -> None:
    """Weights of which a file is truncated, changed or in another's place are damaged; that file comes again, alone."""
    assert "damaged" == repaired.states[f"w/{name}"]
    assert world.has(DAMAGED[name], name)
    assert 0 < world.served(name, ".gguf") - repaired.before[name] <= most


class Served(NamedTuple):
    """A gated model on three hosts: where the token was seen while it came, and afterwards."""

    inventory: Path
    run: Run
    during: dict[str, list[str]]
    after: dict[str, list[str]]


@pytest.fixture(scope="module")
def served(world: World, began: Began, repaired: Repaired) -> Served:
    """One host pulls a gated model and stops in the middle; of the chain behind it a host gives no more."""
    del repaired
    inventory = world.inventory({name: world.serve(name, "tiny") for name in "abc"})
    run = world.start(inventory, "-vvv", "--diff", HF_TOKEN=TOKEN)
    wait_for(lambda: world.served("tiny") >= 8 * MIB, 300)
    wait_for(lambda: "##note copying from b (" in world.log("c", "small"), 300)
    during = {name: traces(world, name, TOKEN) for name in "abc"}
    world.lab.ssh("b", "systemctl kill -s KILL 'hermeion-share-*'")
    wait_for(lambda: "sent nothing of" in world.log("a", "stalled"), 600)  # its knob may go now
    world.knobs["bodies"] = [
        fault for fault in world.knobs["bodies"] if not re.match("/w/(tiny|stalled)/", fault["path"])
    ]
    world.turn()
    done = run.wait(600)
    return Served(inventory, done, during, {name: traces(world, name, TOKEN) for name in "abc"})


def test_a_token_is_with_the_puller_alone(served: Served) -> None:
    """While a gated model is pulled its token is in one file of the host that pulls, and after it nowhere."""
    assert {"a": ["/run/hermeion/jobs/weights-small.secrets/token"], "b": [], "c": []} == served.during
    assert {"a": [], "b": [], "c": []} == served.after
    assert TOKEN not in served.run.text + json.dumps(served.run.report)


def test_hosts_copy_from_each_other(world: World, served: Served) -> None:
    """Three hosts serve what the origin gave once; the last goes on with the first, as the one before it is gone."""
    assert served.run.code == 0, served.run.text
    assert all(world.has(name, "tiny") for name in "abc")
    size = world.repos["tiny"].total
    assert world.served("tiny", ".gguf") in range(size, size + 2 * MIB), "once, and the header"
    assert "##note copying from a (" in world.log("c", "small")


class Mended(NamedTuple):
    """Weights that changed under two services: what their starts said, and the run after that."""

    said: dict[str, str]
    before: int
    run: Run


@pytest.fixture(scope="module")
def mended(world: World, served: Served) -> Mended:
    """The branch moves on; one host's file is truncated, another's replaced by one of the same size."""
    repo = world.repos["tiny"]
    world.model("tiny", 24 * MIB, seed=2)
    world.repos["tiny"] = repo
    file = f"$(readlink -f {repo.snapshot()}/tiny.gguf)"
    world.lab.ssh("c", f"truncate -s 1000000 {file}")
    world.lab.ssh("b", f"cp {file} /srv/x; printf spoilt | dd of=/srv/x conv=notrunc; mv /srv/x {file}")
    said = {}
    for name in "bc":
        world.lab.ssh(name, "systemctl restart hermeion-small", check=False)
        said[name] = world.lab.ssh(name, "systemctl stop hermeion-small; journalctl -q -o cat -u hermeion-small")
    before = world.served("tiny", ".gguf")
    return Mended(said, before, world.start(served.inventory, HF_TOKEN=TOKEN).wait(600))


@pytest.mark.parametrize(("name", "problem"), [("b", "was changed after"), ("c", "has 1000000 bytes, and had {} when")])
def test_other_weights_are_not_served(world: World, mended: Mended, name: str, problem: str) -> None:
    """A service does not start on a file that is not the one that was checked, and says what to do."""
    wrong = problem.format(world.repos["tiny"].total)
    again = "Run pyinfra INVENTORY deploys/hermes.py again: it checks and repairs."
    assert f"small: tiny.gguf of its weights {wrong} it was checked. {again}\n" in mended.said[name]


def test_damage_is_mended_from_a_host_that_is_well(world: World, mended: Mended) -> None:
    """The next run repairs both from the third host; the moved branch changes nothing; all serve again."""
    assert mended.run.code == 0, mended.run.text
    assert all(world.has(name, "tiny") for name in "abc"), "at the commit of the first run"
    assert world.served("tiny", ".gguf") - mended.before < 2 * MIB, "at most a header"
    assert ["200"] * 3 == [world.lab.ssh(name, world.lab.health(8002)) for name in "abc"]


def test_verify_finds_all_right(world: World, served: Served, mended: Mended) -> None:
    """hermeion cache verify hashes every byte that the pulls recorded, and finds no damage."""
    run = hermeion("cache", "verify", str(served.inventory), "--json", lab=NAME)
    assert run.code == 0, run.text
    hosts = json.loads(run.text)["hosts"]
    assert {"a", "b", "c"} == set(hosts)
    assert all(host["hashed"] > world.repos["tiny"].total for host in hosts.values())


def test_prune_leaves_what_a_release_names(world: World, served: Served, mended: Mended) -> None:
    """hermeion cache prune frees a host of complete weights that it does not serve; other hosts keep theirs."""
    run = hermeion("cache", "prune", str(served.inventory), "b", "-y", "--grace", "0", "--json", lab=NAME)
    assert run.code == 0, run.text
    assert json.loads(run.text)["freed"] >= sum(
        world.repos[name].total for name in ("wait429", "slow", "puller-killed")
    )
    left = set(world.lab.ssh("b", "cd /srv/models/hub; ls -d models--*").split())
    # What broke off stays for ten minutes after it was last written to: somebody may still be at it.
    assert {"models--w--tiny"} == left - {"models--w--other", "models--w--file404"}
    assert world.has("b", "tiny")
    assert world.has("a", "redirected")


@pytest.fixture(scope="module")
def beside(began: Began, mended: Mended) -> Run:
    """The run beside all others has ended."""
    del mended
    return began.beside.wait(600)


def test_a_stalled_origin_is_asked_again(world: World, beside: Run) -> None:
    """After two minutes without a byte the puller connects anew, and goes on where it was."""
    hub = world.lab.data["mirrors"]["hub"]
    note = f"##note the Hub {hub} sent nothing of m-00002-of-00002.gguf for 120 s, next try in "
    assert note in world.log("a", "stalled")
    assert world.has("a", "stalled")
    assert world.served("stalled", ".gguf") - world.repos["stalled"].total in range(MIB), "less than was there already"


def test_weights_come_while_the_driver_is_built(world: World, beside: Run) -> None:
    """On a bare host a slow pull begins before the driver's installation, and goes on after the reboot."""
    assert {"stalled"} == set(beside.report["failed"])
    order = r"\[bare\] +weights of overlap: pulled.*operation: Driver: repository.*\[bare\] +back after"
    assert re.search(order, beside.text, re.DOTALL)
    facts = dict(re.findall(r"(?m)^##fact (\w+) (\d+)$", world.log("bare", "small")))  # of the job after the reboot
    assert int(facts["reused"]) > 0
    assert world.repos["overlap"].total == int(facts["reused"]) + int(facts["fetched"])
    assert "200" == world.lab.ssh("bare", world.lab.health(8002))
