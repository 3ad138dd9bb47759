"""The scripts of ``hermeion cache`` on real folders: what is asked, what is removed, what is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermeion.caches import Listing, Pruning, find_prunings, find_snapshots, find_stores, parse_listing
from hermeion.errors import ProbeError
from hermeion.puller import verify
from hermeion.scripts import housekeeping
from hermeion.scripts.housekeeping import cancel_script, listing_script, prune_script, verify_script
from tests.unit.cache_folders import COMMITS, FILES, OLD, blob_of, lay_out, listed, release, run


def plan(listing: Listing, **options: Any) -> Pruning:
    """What a prune of one host's cache would do."""
    return find_prunings(find_stores([listing]), **options)[0]


def prune(cache: Path, tmp_path: Path, **options: Any) -> tuple[int, list[str]]:
    """List, decide, remove; freed bytes, and what was left."""
    found = plan(listed(cache, tmp_path), **options)
    assert found.refusal is None
    return carry_out(found, tmp_path)


def carry_out(found: Pruning, tmp_path: Path) -> tuple[int, list[str]]:
    """Remove what was found."""
    listing = found.store.first
    done = run(prune_script(listing.cache, listing.root, found.steps, found.bytes), tmp_path)
    assert (0, "") == (done.returncode, done.stderr), done
    *left, freed = (tmp_path / "run" / "cache" / "prune.txt").read_text().splitlines()
    return int(freed.removeprefix("freed ")), [line.removeprefix("left ") for line in left]


def tree(folder: Path) -> set[str]:
    """Every path below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def age(*paths: Path) -> None:
    """Make files old."""
    for path in paths:
        os.utime(path, (OLD, OLD), follow_symlinks=False)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty cache with a space in its name."""
    folder = tmp_path / "my models"
    folder.mkdir()
    return folder


def test_listing(cache: Path, tmp_path: Path) -> None:
    """A listing tells every snapshot with its state, files with spaces and brackets included, and who uses it."""
    name = lay_out(cache)
    release(tmp_path / "opt", COMMITS[0])
    release(tmp_path / "opt", COMMITS[0], release_id="old", current=False)
    (row,) = find_snapshots(find_stores([listed(cache, tmp_path)])[0])

    assert (name, "org/model", "complete", 3, 1502, ()) == (
        row.name, row.repo, row.state, row.files, row.bytes, row.wrong
    )  # fmt: skip
    assert [("abc", True), ("old", False)] == [(use.release, use.current) for use in row.uses]
    assert ("2026-11-21T18:03:00+00:00", "the Hub https://huggingface.co") == (row.checked, row.source)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda path: path.write_bytes(b"c" * 1000), True),
        (lambda path: os.utime(path, (1, 1)), True),
        (lambda path: path.unlink(), True),
        (lambda path: path.chmod(0o600), False),
    ],
)
def test_listing_of_a_damaged_file(cache: Path, tmp_path: Path, change: Any, wrong: bool) -> None:
    """A file that was written, touched or lost is named; one whose mode alone changed is not."""
    lay_out(cache)
    change((cache / "hub/models--org--model/snapshots" / COMMITS[0] / "model-00001-of-00002.safetensors").resolve())
    (row,) = find_snapshots(find_stores([listed(cache, tmp_path)])[0])

    assert (("model-00001-of-00002.safetensors",) if wrong else ()) == row.wrong
    assert ("damaged" if wrong else "complete") == row.state


def test_listing_of_nothing(tmp_path: Path) -> None:
    """A host without a cache says so, and nothing can be removed there."""
    listing = listed(tmp_path / "nowhere", tmp_path)

    assert ("", {}, True) == (listing.root, listing.entries, listing.is_whole)
    assert () == plan(listing).removals


def test_listing_that_breaks_off(cache: Path, tmp_path: Path) -> None:
    """An answer without its end is no answer: what is missing in it might be what a release needs."""
    lay_out(cache)
    whole = run(listing_script(str(cache)), tmp_path).stdout
    with pytest.raises(ProbeError, match=r"^gpu-1: its answer about the cache breaks off\. Run again\.$"):
        parse_listing("gpu-1", str(cache), "".join(whole.splitlines()[:-2]))


def test_prune(cache: Path, tmp_path: Path) -> None:
    """What no release names goes, with everything that speaks of it; what is shared stays; bytes add up."""
    kept = lay_out(cache)
    lay_out(cache, COMMITS[1], {"config.json": b"{}", "new.bin": b"n" * 300})
    before = tree(cache)
    release(tmp_path / "opt", COMMITS[0])
    found = plan(listed(cache, tmp_path))
    freed, left = carry_out(found, tmp_path)

    assert [] == left
    assert found.bytes == freed > 300
    gone = before - tree(cache)
    folder, name = "hub/models--org--model", f"models--org--model@{COMMITS[1]}"
    assert {
        f"hermeion/{name}.json", f"hermeion/{name}.manifest", f"{folder}/blobs/{blob_of(b'n' * 300)}",
        f"{folder}/refs", f"{folder}/refs/main", f"{folder}/snapshots/{COMMITS[1]}",
        f"{folder}/snapshots/{COMMITS[1]}/config.json", f"{folder}/snapshots/{COMMITS[1]}/new.bin",
        f"{folder}/trees/{COMMITS[1]}.json",
    } == gone  # fmt: skip
    (row,) = find_snapshots(find_stores([listed(cache, tmp_path)])[0])
    assert (kept, "complete") == (row.name, row.state)
    assert (0, []) == prune(cache, tmp_path)


def test_prune_of_everything(cache: Path, tmp_path: Path) -> None:
    """A repository that nobody needs goes with its folders."""
    lay_out(cache)
    prune(cache, tmp_path)

    assert {"hermeion", "hub"} == tree(cache)


def test_kept_releases_count(cache: Path, tmp_path: Path) -> None:
    """A release that is kept for a rollback protects its weights as the current one does."""
    lay_out(cache)
    release(tmp_path / "opt", COMMITS[0], current=False)

    assert (0, []) == prune(cache, tmp_path)


def test_single_files(cache: Path, tmp_path: Path) -> None:
    """Of files of one commit that were pulled one by one, those go that no release names."""
    lay_out(cache, files={"a.gguf": b"a" * 100}, single=("a.gguf",))
    lay_out(cache, files={"b.gguf": b"b" * 200}, single=("b.gguf",))
    release(tmp_path / "opt", COMMITS[0], files=("a.gguf",))
    freed, _ = prune(cache, tmp_path)

    assert 200 < freed < 1000
    folder = cache / "hub/models--org--model"
    assert ["a.gguf"] == [path.name for path in (folder / "snapshots" / COMMITS[0]).iterdir()]
    assert [blob_of(b"a" * 100)] == [path.name for path in (folder / "blobs").iterdir()]
    assert (folder / "refs" / "main").exists()


def test_leftovers(cache: Path, tmp_path: Path) -> None:
    """What broken pulls left goes: our parts at once, the client's when nobody has written to them for a while."""
    lay_out(cache)
    release(tmp_path / "opt", COMMITS[0])
    blobs = cache / "hub/models--org--model/blobs"
    ours, fresh, stale = (blobs / f"{'ab' * 32}{end}.incomplete" for end in ("", ".0123abcd", ".4567cdef"))
    idle = blobs / ("cd" * 32)
    temporary = cache / "hermeion" / f".x.manifest.{'0' * 32}.new"
    (cache / "hermeion/parts").mkdir()
    mark = cache / "hermeion/parts" / ("ab" * 32)
    for path in (ours, fresh, stale, idle, mark, temporary):
        path.write_bytes(b"1234")
    age(stale, idle, temporary)
    freed, left = prune(cache, tmp_path)

    assert (5 * 4, []) == (freed, left)
    assert [False, True, False, False, False, False] == [
        p.exists() for p in (ours, fresh, stale, idle, mark, temporary)
    ]


def test_not_ours(cache: Path, tmp_path: Path) -> None:
    """What somebody else put there stays, unless everything is to go; and even then, if a release names it."""
    lay_out(cache, record=False)
    lay_out(cache, COMMITS[1], repo="org/used", record=False)
    release(tmp_path / "opt", COMMITS[1], repo="org/used")
    before = tree(cache)
    assert (0, []) == prune(cache, tmp_path)
    assert before == tree(cache)
    assert (0, []) == prune(cache, tmp_path, all_repos=True)  # it came a moment ago

    freed, _ = prune(cache, tmp_path, all_repos=True, grace=0)
    assert sum(map(len, FILES.values())) <= freed
    assert {"hub/models--org--used"} == {
        path for path in tree(cache) if path.startswith("hub/") and path.count("/") == 1
    }


def test_running_pull(cache: Path, tmp_path: Path) -> None:
    """As long as a pull of a repository gives signs of life, nothing of it goes; a dead one protects nothing."""
    name = lay_out(cache)
    lock = cache / "hermeion" / f"models--org--model@{COMMITS[5]}.lock"
    lock.mkdir()
    (lock / "owner.json").write_text(json.dumps({"host": "gpu-7"}))
    found = plan(listed(cache, tmp_path))

    assert {"org/model": "is being pulled by gpu-7"} == found.kept
    assert () == found.removals
    age(lock, lock / "owner.json")
    prune(cache, tmp_path)
    assert {"hermeion", "hub"} == tree(cache)
    assert name


def test_pull_that_begins_meanwhile(cache: Path, tmp_path: Path) -> None:
    """A pull that began after the cache was listed is not hurt: nothing of its repository goes."""
    lay_out(cache)
    found = plan(listed(cache, tmp_path))
    (cache / "hermeion" / f"models--org--model@{COMMITS[5]}.lock").mkdir()
    before = tree(cache)

    assert (0, ["hub/models--org--model: it is being pulled now"]) == carry_out(found, tmp_path)
    assert before == tree(cache)


def test_release_that_comes_meanwhile(cache: Path, tmp_path: Path) -> None:
    """A release that was written after the cache was listed keeps its weights."""
    lay_out(cache)
    found = plan(listed(cache, tmp_path))
    release(tmp_path / "opt", COMMITS[0])
    before = tree(cache)

    assert (0, ["hub/models--org--model: a release names it now"]) == carry_out(found, tmp_path)
    assert before == tree(cache)


def test_snapshot_that_comes_meanwhile(cache: Path, tmp_path: Path) -> None:
    """A blob that a snapshot has come to need since the cache was listed stays."""
    lay_out(cache)
    found = plan(listed(cache, tmp_path))
    lay_out(cache, COMMITS[1], {"config.json": b"{}"})
    _, left = carry_out(found, tmp_path)

    blob = f"hub/models--org--model/blobs/{blob_of(b'{}')}"
    assert [f"{blob}: a snapshot needs it now"] == left
    assert (cache / blob).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_prune_with_an_owner() -> None:
    """A cache of another user is listed and pruned as that user, who can do no more than that; what stays is named."""
    with tempfile.TemporaryDirectory() as folder:
        tmp_path = Path(folder)
        tmp_path.chmod(0o755)
        cache = tmp_path / "cache"
        cache.mkdir()
        name = lay_out(cache)
        blobs = cache / "hub/models--org--model/blobs"
        subprocess.run(["chown", "-Rh", "1234:1234", str(cache)], check=True)
        os.chown(blobs, 0, 0)
        _, left = prune(cache, tmp_path)

        reason = "it cannot be removed: Permission denied"
        assert sorted(f"{path.relative_to(cache)}: {reason}" for path in blobs.iterdir()) == sorted(left)
        assert 3 == len(left)
        assert not (cache / "hermeion" / f"{name}.manifest").exists()
        assert not (blobs.parent / "snapshots").exists()


def test_young_pull(cache: Path, tmp_path: Path) -> None:
    """A pull that has just ended stays: its release may be written in the next moment."""
    name = lay_out(cache)
    (cache / "hermeion" / f"{name}.json").touch()
    found = plan(listed(cache, tmp_path))

    assert {name: "came less than 60 min ago: its service may be on its way"} == found.kept
    assert () == found.removals
    assert plan(listed(cache, tmp_path), grace=0).removals


def test_crash_leaves_nothing_called_complete(cache: Path, tmp_path: Path) -> None:
    """Cut off after any of its steps, a prune leaves no snapshot that is called complete and is not."""
    lay_out(cache)
    found = plan(listed(cache, tmp_path))
    steps = [path for removal in found.removals for path in (*removal.records, *removal.links, *removal.blobs)]
    assert 9 <= len(steps)
    states = []
    for count in range(len(steps)):
        place = tmp_path / str(count)
        subprocess.run(["cp", "-a", str(cache), str(place)], check=True)
        cut = cut_after(place, found, count, tmp_path)
        assert 0 != cut.returncode
        for lock in (place / "hermeion").glob("*.lock"):
            age(lock, *lock.iterdir())  # a minute later
        states.append({row.state for row in find_snapshots(find_stores([listed(place, tmp_path)])[0])} - {"not ours"})
    assert [{"damaged"}, {"incomplete"}] == states[:2]


def cut_after(place: Path, found: Pruning, count: int, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a prune whose ``rm`` of the cache's files kills it after so many."""
    tools = tmp_path / f"tools-{count}"
    tools.mkdir()
    counter = tools / "count"
    counter.write_text("0")
    (tools / "rm").write_text(
        f"""#!/bin/sh
case "$*" in '-f -- ./'*) ;; *) exec /bin/rm "$@" ;; esac
n=$(cat {counter}); [ "$n" -lt {count} ] || {{ kill -9 $(cat {tools}/main) $PPID; exit 1; }}
echo $((n + 1)) > {counter}
exec /bin/rm "$@"
"""
    )
    (tools / "rm").chmod(0o755)
    script = prune_script(str(place), str(place), found.steps, found.bytes)
    script = script.replace("PATH=/usr/local/sbin:", f"PATH={tools}:/usr/local/sbin:")
    script = script.replace("as_owner sh -s ", f"exec 3>/dev/null; echo $$ > {tools}/main; as_owner sh -s ")
    return run(script, tmp_path)


HOSTILE = ("hub", "hub/models--org--model", "hub/models--org--model/blobs", "hub/models--org--model/snapshots")


@pytest.mark.parametrize("place", HOSTILE)
def test_hostile_link(cache: Path, tmp_path: Path, place: str) -> None:
    """A folder of the cache that leads elsewhere: nothing is removed there, also if it came meanwhile."""
    lay_out(cache)
    early = plan(listed(cache, tmp_path))
    outside = tmp_path / "outside"
    (cache / place).rename(outside)
    (cache / place).symlink_to(outside)
    before = tree(outside)

    prune(cache, tmp_path, all_repos=True, grace=0)
    assert before == tree(outside)
    carry_out(early, tmp_path)
    assert before == tree(outside)


def test_hostile_names(cache: Path, tmp_path: Path) -> None:
    """Names with quotes, newlines and commands in them are names, and nothing else."""
    evil = "$(touch PWNED); `touch PWNED` ' \" * .bin"
    lay_out(cache, files={evil: b"1", "-rf": b"2"})
    odd = lay_out(cache, repo="org/odd", files={"a\nHERMEION": b"3"})
    freed, _ = prune(cache, tmp_path)

    assert freed > 2
    assert not (cache / "PWNED").exists()
    assert not (cache / "hub/models--org--model").exists()
    assert (cache / "hub/models--org--odd").exists()
    assert odd


def test_link_to_the_outside(cache: Path, tmp_path: Path) -> None:
    """A link of a snapshot that leads outside goes; what it leads to stays."""
    lay_out(cache)
    secret = tmp_path / "secret"
    secret.write_text("mine")
    link = cache / "hub/models--org--model/snapshots" / COMMITS[0] / "config.json"
    link.unlink()
    link.symlink_to(secret)
    prune(cache, tmp_path)

    assert "mine" == secret.read_text()
    assert not link.is_symlink()


def test_hard_link(cache: Path, tmp_path: Path) -> None:
    """A blob with another name elsewhere, as an engine's store gives it, frees nothing."""
    lay_out(cache, files={"a.gguf": b"a" * 5000})
    os.link(cache / "hub/models--org--model/blobs" / blob_of(b"a" * 5000), tmp_path / "store")
    found = plan(listed(cache, tmp_path))

    assert found.bytes < 5000
    assert found.bytes == carry_out(found, tmp_path)[0]


def test_cancel_is_a_script() -> None:
    """What stops pulls is valid sh."""
    assert 0 == subprocess.run(["sh", "-n"], input=cancel_script(), text=True, check=False).returncode


LAYOUT = st.lists(
    st.tuples(
        st.sampled_from(["org/one", "org/two"]),
        st.integers(0, 2),  # commit
        st.sets(st.sampled_from(["a", "b", "c/d"]), min_size=1),
        st.booleans(),  # ours
        st.booleans(),  # single files
        st.booleans(),  # named by a release
        st.booleans(),  # old
    ),
    max_size=6,
)
LEFT = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), st.sampled_from(["", ".0123abcd"]), st.booleans()), max_size=3
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LAYOUT, LEFT, st.booleans(), st.sampled_from([0, 3600]))
def test_prune_never_hurts(
    tmp_path_factory: pytest.TempPathFactory, layout: list[Any], left: list[Any], all_repos: bool, grace: int
) -> None:
    """Whatever the layout, what a release names has every byte after a prune, and nothing outside the cache changes."""
    tmp_path = tmp_path_factory.mktemp("x")
    cache = tmp_path / "cache"
    cache.mkdir()
    outside = tmp_path / "beside"
    outside.mkdir()
    (outside / "file").write_text("x")
    needed: dict[Path, bytes] = {}
    for index, (repo, commit, names, ours, single, named, old) in enumerate(layout):
        files = {name: f"{name}{commit if name == 'b' else ''}".encode() * 50 for name in names}
        picked = tuple(sorted(files)) if single else ()
        lay_out(cache, COMMITS[commit], files, repo=repo, record=ours, single=picked, old=old)
        if named:
            release(
                tmp_path / "opt", COMMITS[commit], repo=repo, files=picked, service=f"s{index}", current=index % 2 == 0
            )
            folder = cache / "hub" / f"models--{repo.replace('/', '--')}" / "snapshots" / COMMITS[commit]
            needed |= {folder / name: content for name, content in files.items()}
    for repo, end, old in left:
        blobs = cache / f"hub/models--org--{repo}/blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        (blobs / f"{'ef' * 32}{end}.incomplete").write_text("part")
        if old:
            age(blobs / f"{'ef' * 32}{end}.incomplete")
    before = {row.name: row.state for row in find_snapshots(find_stores([listed(cache, tmp_path)])[0]) if row.uses}
    prune(cache, tmp_path, all_repos=all_repos, grace=grace)

    assert needed == {path: path.read_bytes() for path in needed}
    after = {row.name: row.state for row in find_snapshots(find_stores([listed(cache, tmp_path)])[0]) if row.uses}
    assert before == after
    assert ["file"] == [path.name for path in outside.iterdir()]
    assert (0, []) == prune(cache, tmp_path, all_repos=all_repos, grace=grace)


def check(cache: Path, tmp_path: Path, *names: str, record: bool = True) -> dict[str, Any]:
    """A deep check as a host does it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(housekeeping, "RESULTS", f"{tmp_path}/run/cache")
        done = run(verify_script(str(cache), sys.executable, names, record=record), tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    result: dict[str, Any] = json.loads((tmp_path / "run/cache/verify.json").read_text())
    assert f"##progress {result['hashed']} " in done.stdout or not result["hashed"]
    return result


def test_verify(cache: Path, tmp_path: Path) -> None:
    """Every file is hashed, and a cache that is right is left as it is."""
    name = lay_out(cache)
    manifest = cache / "hermeion" / f"{name}.manifest"
    before = manifest.stat().st_ino
    result = check(cache, tmp_path, name)

    assert {name: {"skipped": "", "files": 3, "bytes": 1502, "damaged": [], "renewed": []}} == result["names"]
    assert 1502 == result["hashed"]
    assert before == manifest.stat().st_ino


def damage(cache: Path) -> Path:
    """Change a byte of a shard, and nothing that a quick look sees."""
    path = (cache / "hub/models--org--model/snapshots" / COMMITS[0] / "model-00001-of-00002.safetensors").resolve()
    path.write_bytes(b"a" * 999 + b"b")
    age(path)
    return path


def test_verify_of_damage(cache: Path, tmp_path: Path) -> None:
    """A changed byte behind an unchanged time is found, named with both hashes, and the snapshot counts as damaged."""
    name = lay_out(cache)
    damage(cache)
    assert "complete" == find_snapshots(find_stores([listed(cache, tmp_path)])[0])[0].state
    found = check(cache, tmp_path, name)["names"][name]

    path = "model-00001-of-00002.safetensors"
    assert [{"path": path, "promised": blob_of(b"a" * 1000), "found": blob_of(b"a" * 999 + b"b")}] == found["damaged"]
    (row,) = find_snapshots(find_stores([listed(cache, tmp_path)])[0])
    assert ("damaged", (path,)) == (row.state, row.wrong)
    assert f"0 0.0000000000 -1 {path}" in (cache / "hermeion" / f"{name}.manifest").read_text().splitlines()


def test_verify_without_record(cache: Path, tmp_path: Path) -> None:
    """With --no-record a deep check writes nothing."""
    name = lay_out(cache)
    damage(cache)
    before = (cache / "hermeion" / f"{name}.manifest").read_text()

    assert 1 == len(check(cache, tmp_path, name, record=False)["names"][name]["damaged"])
    assert before == (cache / "hermeion" / f"{name}.manifest").read_text()


def test_verify_of_a_restored_file(cache: Path, tmp_path: Path) -> None:
    """A file that is right, but has another time and inode than recorded, is recorded anew; also after damage."""
    name = lay_out(cache)
    path = damage(cache)
    check(cache, tmp_path, name)
    path.unlink()
    path.write_bytes(b"a" * 1000)
    found = check(cache, tmp_path, name)["names"][name]

    assert ([], ["model-00001-of-00002.safetensors"]) == (found["damaged"], found["renewed"])
    (row,) = find_snapshots(find_stores([listed(cache, tmp_path)])[0])
    assert "complete" == row.state
    lines = (cache / "hermeion" / f"{name}.manifest").read_bytes().splitlines()
    assert sorted(lines) == lines


@pytest.mark.parametrize(
    ("content", "found"), [(b"a" * 999, "999 bytes in place of 1000"), (None, "nothing")]
)  # fmt: skip
def test_verify_of_a_short_or_lost_file(cache: Path, tmp_path: Path, content: bytes | None, found: str) -> None:
    """A file of another size is not read; one that is not there is said to be so."""
    name = lay_out(cache)
    path = damage(cache)
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    assert [found] == [row["found"] for row in check(cache, tmp_path, name)["names"][name]["damaged"]]


def test_verify_of_a_running_pull(cache: Path, tmp_path: Path) -> None:
    """What is being pulled is not judged."""
    name = lay_out(cache)
    (cache / "hermeion" / f"{name}.lock").mkdir()

    assert "it is being pulled" == check(cache, tmp_path, name)["names"][name]["skipped"]


def test_verify_of_git_hashes(cache: Path, tmp_path: Path) -> None:
    """Small files are compared with git's hash of them; a file of two names is hashed once."""
    name = lay_out(cache, files={"config.json": b"hello\n", "copy.json": b"hello\n"})
    record = cache / "hermeion" / f"{name}.json"
    about = json.loads(record.read_text())
    for row in about["files"]:
        row |= {"sha256": None, "oid": "ce013625030ba8dba906f756967f9e9ca394464a"}  # git hash-object
    record.write_text(json.dumps(about))
    result = check(cache, tmp_path, name)

    assert [] == result["names"][name]["damaged"]
    assert 6 == result["hashed"]


def test_verify_without_a_record_file(cache: Path, tmp_path: Path) -> None:
    """Without a record, blobs are compared with their own names."""
    name = lay_out(cache)
    (cache / "hermeion" / f"{name}.json").unlink()
    damage(cache)

    assert 1 == len(check(cache, tmp_path, name)["names"][name]["damaged"])


@pytest.mark.parametrize("cold", [True, False])
def test_cold_files_are_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cold: bool) -> None:
    """What was not in memory is given up block by block after it was hashed; what was there is left there."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * (verify.BLOCK + 5))
    given_up: list[tuple[int, int]] = []

    def advise(_: int, start: int, count: int, advice: int) -> None:
        if advice == os.POSIX_FADV_DONTNEED:
            given_up.append((start, count))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    monkeypatch.setattr(verify, "is_cold", lambda *_: cold)
    digest = verify.digest_of(path, hashlib.sha256(), verify.Progress(1, 1))

    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert ([(0, verify.BLOCK), (verify.BLOCK, 5), (0, 0)] if cold else []) == given_up


def test_what_is_in_memory_is_seen(tmp_path: Path) -> None:
    """A file that was just read is not cold; one that the kernel has given up is."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(4 << 20))
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        stream.read()
        assert not verify.is_cold(stream.fileno(), 4 << 20)
        for _ in range(50):  # the kernel takes it for advice
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if verify.is_cold(stream.fileno(), 4 << 20):
                return
    pytest.fail("it is never cold")
