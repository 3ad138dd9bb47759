"""The command ``scripts/engine-tables``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.engine_tables import downloads, llamacpp, ollama, sglang, storage, vllm
from tools.engine_tables.releases import Release
from tools.engine_tables.trees import open_tree

DESCRIPTION = "Adds a version of an engine to hermeion/data/engines/ENGINE.json, or says what differs."
EXAMPLES = """\
examples:
  scripts/engine-tables vllm 0.34.0                                  fetched from the package index with pip
  scripts/engine-tables sglang 0.5.24 --from sglang-0.5.24-py3-none-any.whl
  scripts/engine-tables llamacpp b12000 --from help.txt              llama-server --help > help.txt
  scripts/engine-tables ollama 0.34.0 --from config.go               envconfig/config.go of that release
  scripts/engine-tables --check                                      all that can be fetched again (minutes)
  scripts/engine-tables --check vllm 0.33.0

What was fetched is read, not installed; of SGLang, the parser is run, with empty stand-ins for torch and the rest.
"""
FETCHED = {"vllm": downloads.vllm, "sglang": downloads.sglang}
OTHERS = {"llamacpp": "what llama-server --help prints", "ollama": "envconfig/config.go of that release"}


def read(engine: str, version: str, path: Path | None, folder: Path) -> Release:
    """One release, from a file or from the package index.

    Raises:
        ValueError: It needs a file, or the file is not what it should be.
        DownloadError: The index does not have it.
    """
    if path is None:
        if engine not in FETCHED:
            message = f"{engine} is on no package index: give --from FILE, {OTHERS[engine]}"
            raise ValueError(message)
        path = FETCHED[engine](version, folder)
    if engine == "vllm":
        return vllm.extract(open_tree(path), version, path.name)
    if engine == "sglang":
        return sglang.extract(path, downloads.msgspec(folder), version)
    extract = llamacpp.extract if engine == "llamacpp" else ollama.extract
    return extract(path.read_text(encoding="utf-8"), version, path.name)


def differences(stored: Release, fresh: Release) -> list[str]:
    """What two readings of a release do not agree on, one line each."""
    found = []
    for name in sorted({*stored.options, *fresh.options}):
        old, new = stored.options.get(name), fresh.options.get(name)
        if old != new:
            found.append(f"{name}: {old or 'not in the table'} -> {new or 'not in the release'}")
    for key in ("tool_parsers", "reasoning_parsers", "defaults", "image"):
        old, new = getattr(stored, key), getattr(fresh, key)
        if key == "image" and "entrypoint" not in new:  # a wheel carries no Dockerfile
            continue
        if old != new:
            found.append(f"{key}: {old} -> {new}")
    return found


def add(engine: str, version: str, path: Path | None, folder: Path) -> str:
    """Read a release and write it into its engine's file; one sentence about what is new in it."""
    releases = storage.load(engine)
    before = [one for one in releases if storage.number(one) < storage.number(version)]
    release = read(engine, version, path, folder)
    if not release.image.get("entrypoint") and before and engine == "vllm":  # a wheel carries no Dockerfile
        release = storage.with_image(release, releases[before[-1]].image)
    place = storage.save(releases | {version: release})
    known = set(releases[before[-1]].options) if before else set()
    new, gone = sorted(set(release.options) - known), sorted(known - set(release.options))
    said = f"{place.name}: {engine} {version} has {len(release.options)} options, from {release.source}"
    if before:
        said += f"\n  new since {before[-1]}: {', '.join(new) or 'none'}\n  gone: {', '.join(gone) or 'none'}"
    return said


def check(engine: str | None, version: str | None, path: Path | None, folder: Path) -> list[str]:
    """What the files and the releases do not agree on."""
    found = []
    for name in [engine] if engine else list(FETCHED):
        stored = storage.load(name)
        for one in [version] if version else list(stored):
            try:
                fresh = storage.harmonise(stored | {one: read(name, one, path, folder)})[one]
            except downloads.DownloadError as error:
                print(f"{name} {one}: not to be had: {error}")
                continue
            told = differences(stored[one], fresh)
            print(f"{name} {one}: {len(told)} differences")
            found += [f"{name} {one}: {line}" for line in told]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code. 1: something differs or cannot be read."""
    parser = argparse.ArgumentParser(
        "engine-tables", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("engine", nargs="?", choices=[*FETCHED, *OTHERS])
    parser.add_argument("version", nargs="?")
    parser.add_argument("--from", dest="path", type=Path, metavar="FILE", help="a file instead of the package index")
    parser.add_argument("--check", action="store_true", help="write nothing; say what differs, exit code 1 if anything")
    asked = parser.parse_args(arguments)
    if not asked.check and not (asked.engine and asked.version):
        parser.error("name an engine and a version, or give --check")
    with tempfile.TemporaryDirectory() as folder:
        try:
            if not asked.check:
                print(add(asked.engine, asked.version, asked.path, Path(folder)))
                return 0
            found = check(asked.engine, asked.version, asked.path, Path(folder))
        except (ValueError, KeyError, RuntimeError, OSError, downloads.DownloadError) as error:
            print(f"engine-tables: {error}", file=sys.stderr)
            return 1
    print("\n".join(found) if found else "nothing differs")
    return 1 if found else 0
