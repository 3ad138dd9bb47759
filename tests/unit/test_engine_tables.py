"""Tables of engine versions: what they answer, what they refuse, and how they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermeion import spans
from hermeion.engines import tables
from hermeion.engines.tables import LABELS, Option, Table, table, versions
from hermeion.errors import InventoryError
from tools.engine_tables import storage
from tools.engine_tables.releases import Found, Release

EVERY = [(engine, version) for engine in LABELS for version in versions(engine)]


def option(engine: str, version: str, name: str) -> Option:
    """An option that has to be there."""
    found = table(engine, version).find(name)
    assert found is not None, name
    return found


# --- versions -------------------------------------------------------------------------------------------------------


def test_versions_are_in_order() -> None:
    """Versions go from the oldest to the newest, by number and not by text."""
    assert ("0.12.0", "0.33.0", 22) == (versions("vllm")[0], versions("vllm")[-1], len(versions("vllm")))
    assert ("0.5.9", "0.5.10.post1", "0.5.23") == (*versions("sglang")[:2], versions("sglang")[-1])


@pytest.mark.parametrize(
    ("engine", "asked", "taken", "warning"),
    [
        ("vllm", "0.33.0", "0.33.0", None),
        ("vllm", "0.33.4", "0.33.0", None),
        ("vllm", "0.14.0", "0.14.1", None),
        ("vllm", "0.14.0rc1", "0.14.1", None),
        (
            "vllm",
            "0.34.0",
            "0.33.0",
            "vLLM 0.34.0 is newer than the newest this release knows (0.33.0): planned as 0.33.0",
        ),
        ("sglang", "0.5.15", "0.5.15.post1", None),
        ("sglang", "0.5.15.post9", "0.5.15.post1", None),
        (
            "sglang",
            "0.6.0",
            "0.5.23",
            "SGLang 0.6.0 is newer than the newest this release knows (0.5.23): planned as 0.5.23",
        ),
        (
            "llamacpp",
            "b100000",
            "b11669",
            "llama.cpp b100000 is newer than the newest this release knows (b11669): planned as b11669",
        ),
    ],
)
def test_version_is_taken_for_a_known_one(engine: str, asked: str, taken: str, warning: str | None) -> None:
    """Another patch is the same table; a newer version is planned as the newest known one and says so."""
    found = table(engine, asked)

    assert (taken, asked, warning) == (found.version, found.asked, found.warning)


@pytest.fixture
def with_a_gap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """vLLM 0.12.0, 0.14.0 and 0.14.2 are known, and nothing in between."""
    image: dict[str, Any] = {"entrypoint": [], "user": None, "cuda": None, "capabilities": [], "port": 1}
    rows: dict[str, Any] = {"options": {}, "defaults": {}, "tool_parsers": [], "reasoning_parsers": []}
    caches = (tables.versions, tables.table, tables._read)
    monkeypatch.setattr(tables, "_data", lambda _: {"versions": ["0.12.0", "0.14.0", "0.14.2"], "image": image} | rows)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("with_a_gap")
def test_version_in_a_gap_is_the_next_older_one() -> None:
    """A minor version that nobody read is taken for the one before it, with a warning; another patch without one."""
    found = table("vllm", "0.13.2")

    assert "0.12.0" == found.version
    assert "vLLM 0.13.2 is not among the versions that this release knows: planned as 0.12.0" == found.warning
    assert ("0.12.0", None) == (table("vllm", "0.12.3").version, table("vllm", "0.12.3").warning)
    assert ["0.14.0", "0.14.0", "0.14.2"] == [table("vllm", f"0.14.{patch}").version for patch in (0, 1, 3)]


@pytest.mark.parametrize(
    ("engine", "asked", "said"),
    [
        ("vllm", "0.11.2", "vLLM 0.11.2 is older than any that is known; this release knows 0.12.0 to 0.33.0"),
        ("vllm", "latest", "vLLM 'latest' is not a version such as 0.32.0; this release knows 0.12.0 to 0.33.0"),
        ("llamacpp", "0.7.0", "llama.cpp '0.7.0' is not a version such as b11669; this release knows b11669"),
        ("llamacpp", "b1", "llama.cpp b1 is older than any that is known; this release knows b11669"),
        ("tgi", "1.0", "no engine 'tgi'; known: vllm, sglang, llamacpp, ollama"),
    ],
)
def test_version_is_refused(engine: str, asked: str, said: str) -> None:
    """A version that is too old or none is refused in one sentence with the versions that work."""
    with pytest.raises(InventoryError) as error:
        table(engine, asked)

    assert (said, 2) == (str(error.value), error.value.exit_code)


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max-model-len", "--max-model-len", "max_model_len", "--max_model_len"])
def test_option_is_found_however_it_is_spelt(name: str) -> None:
    """Dashes, underscores and dashes in front make no difference."""
    assert ("max-model-len", "int") == (option("vllm", "0.32.0", name).name, option("vllm", "0.32.0", name).kind)


@pytest.mark.parametrize(
    ("engine", "version", "alias", "name"),
    [
        ("vllm", "0.32.0", "-tp", "tensor-parallel-size"),
        ("vllm", "0.32.0", "device-memory-utilization", "gpu-memory-utilization"),
        ("vllm", "0.32.0", "no-enable-prefix-caching", "enable-prefix-caching"),
        ("vllm", "0.33.0", "disable-prefix-caching", "enable-prefix-caching"),
        ("sglang", "0.5.23", "tensor-parallel-size", "tp-size"),
        ("sglang", "0.5.9", "tensor-parallel-size", "tp-size"),
        ("llamacpp", "b11669", "-c", "ctx-size"),
        ("llamacpp", "b11669", "-C", "cpu-mask"),
        ("llamacpp", "b11669", "LLAMA_ARG_CTX_SIZE", "ctx-size"),
        ("llamacpp", "b11669", "no-jinja", "jinja"),
        ("ollama", "0.33.3", "OLLAMA_NUM_PARALLEL", "OLLAMA_NUM_PARALLEL"),
    ],
)
def test_option_is_found_by_alias(engine: str, version: str, alias: str, name: str) -> None:
    """Short forms, other names, opposites of flags and environment variables lead to the option itself."""
    assert name == option(engine, version, alias).name


def test_opposite_of_a_flag_without_one_is_not_found() -> None:
    """A flag that the parser cannot switch off has no opposite: vLLM refuses --no-headless."""
    assert option("vllm", "0.32.0", "headless").kind == "flag"
    assert table("vllm", "0.32.0").find("no-headless") is None


@pytest.mark.parametrize(
    ("version", "name", "known"),
    [
        ("0.16.0", "disable-log-requests", True),  # deprecated there
        ("0.32.0", "disable-log-requests", False),
        ("0.33.0", "disable-log-requests", True),  # the opposite of enable-log-requests
        ("0.17.1", "shutdown-timeout", False),
        ("0.18.1", "shutdown-timeout", True),
        ("0.17.1", "swap-space", True),
        ("0.32.0", "swap-space", False),
        ("0.12.0", "task", True),
        ("0.32.0", "task", False),
        ("0.32.0", "monokernel", False),
        ("0.33.0", "monokernel", True),
        ("0.32.0", "max-num-queued-reqs", True),
        ("0.32.0", "calculate-kv-scales", False),
    ],
)
def test_options_come_and_go(version: str, name: str, known: bool) -> None:
    """What vLLM's releases had and had not."""
    assert known == (table("vllm", version).find(name) is not None)


def test_option_says_since_when_and_until_when() -> None:
    """An option carries the versions that it came and went with, and since when it is deprecated."""
    assert ("0.18.1", None) == (option("vllm", "0.33.0", "shutdown-timeout").since, None)
    assert (None, "0.17.1") == (
        option("vllm", "0.12.0", "swap-space").since,
        option("vllm", "0.12.0", "swap-space").until,
    )
    assert (None, "0.31.0") == (
        option("vllm", "0.30.0", "log-config-file").deprecated,
        option("vllm", "0.33.0", "log-config-file").deprecated,
    )


def test_choices_change() -> None:
    """The values that a parser takes are those of the version."""
    old, new = (option("sglang", version, "kv-cache-dtype").choices for version in ("0.5.9", "0.5.23"))

    assert ("nvfp4" in old, "nvfp4" in new) == (False, True)
    assert option("vllm", "0.33.0", "kv-cache-dtype").choices == ()  # any word since 0.33
    assert ("auto", "off", "on") == option("llamacpp", "b11669", "flash-attn").choices


@pytest.mark.parametrize(
    ("engine", "version", "wrong", "right"),
    [
        ("vllm", "0.32.0", "max-model-length", "max-model-len"),
        ("vllm", "0.32.0", "--tensor_parallel", "tensor-parallel-size"),
        ("sglang", "0.5.23", "context-size", "context-length"),
        ("llamacpp", "b11669", "n-gpu-layer", "n-gpu-layers"),
        ("ollama", "0.33.3", "OLLAMA_NUM_PARALEL", "OLLAMA_NUM_PARALLEL"),
        ("vllm", "0.32.0", "zzzz", None),
    ],
)
def test_nearest(engine: str, version: str, wrong: str, right: str | None) -> None:
    """A misspelt option leads to the one that was meant, and nonsense to none."""
    assert right == table(engine, version).nearest(wrong)


# --- parsers, defaults, images --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "version"), [pair for pair in EVERY if pair[0] in {"vllm", "sglang"}])
def test_hermes_parsers_are_in_every_version(engine: str, version: str) -> None:
    """Every version has the parsers that Hermes models are served with."""
    found = table(engine, version)

    assert "hermes" in found.tool_parsers
    assert {"vllm": "deepseek_v3", "sglang": "deepseek-v3"}[engine] in found.reasoning_parsers


def test_numbers_of_parsers() -> None:
    """vLLM 0.12 and 0.32 have as many parsers as they register."""
    assert [(27, 15), (54, 38)] == [
        (len(table("vllm", version).tool_parsers), len(table("vllm", version).reasoning_parsers))
        for version in ("0.12.0", "0.32.0")
    ]
    assert {"beam", "muse", "musespark1x", "step5"} == (
        set(table("vllm", "0.33.0").tool_parsers) - set(table("vllm", "0.32.0").tool_parsers)
    )


@pytest.mark.parametrize(
    ("version", "name", "value"),
    [
        ("0.12.0", "gpu-memory-utilization", 0.9),
        ("0.32.0", "gpu-memory-utilization", 0.92),
        ("0.17.1", "shutdown-timeout", None),
        ("0.32.0", "shutdown-timeout", 0),
        ("0.12.0", "max-num-batched-tokens", [(70, 8192), (0, 2048)]),
        ("0.33.0", "max-num-batched-tokens", [(160, 16384), (70, 8192), (0, 2048)]),
        ("0.33.0", "max-num-seqs", [(160, 1024), (70, 1024), (0, 256)]),
    ],
)
def test_defaults(version: str, name: str, value: Any) -> None:
    """What vLLM does if nobody says, by GPU memory in GiB where that decides."""
    found = table("vllm", version).defaults.get(name)

    assert value == ([(row["memory"], row["value"]) for row in found] if isinstance(found, list) else found)


@pytest.mark.parametrize(
    ("engine", "version", "entrypoint", "user", "cuda", "port"),
    [
        ("vllm", "0.12.0", ("vllm", "serve"), None, "12.9.1", 8000),
        ("vllm", "0.33.0", ("vllm", "serve"), "2000:0", "13.0.3", 8000),
        ("sglang", "0.5.23", (), None, "13.0", 30000),
        ("sglang", "0.5.19", (), None, "12.9", 30000),
        ("llamacpp", "b11669", ("/app/llama-server",), None, "12.8.1", 9931),
        ("ollama", "0.33.3", ("/bin/ollama",), None, None, 11434),
    ],
)
def test_images(
    engine: str, version: str, entrypoint: tuple[str, ...], user: str | None, cuda: str | None, port: int
) -> None:
    """What the official images are like."""
    image = table(engine, version).image

    assert (entrypoint, user, cuda, port) == (image.entrypoint, image.user, image.cuda, image.port)


def test_capabilities_of_images() -> None:
    """vLLM's image lost Volta and won Blackwell with CUDA 13."""
    assert ("7.0", "7.5") == (
        table("vllm", "0.19.1").image.capabilities[0],
        table("vllm", "0.20.2").image.capabilities[0],
    )


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", LABELS)
def test_file_is_as_the_script_writes_it(engine: str, tmp_path: Path) -> None:
    """A file that is read and written again has the same bytes: nobody edited it by hand into another form."""
    place = storage.save(storage.load(engine), tmp_path)

    assert (storage.FOLDER / f"{engine}.json").read_text() == place.read_text()


@pytest.mark.parametrize(("engine", "version"), EVERY)
def test_two_readers_agree(engine: str, version: str) -> None:
    """The table that plans are made from is the release that the script keeps."""
    found, kept = table(engine, version), storage.load(engine)[version]

    assert kept.options == {
        name: Found(one.kind, one.choices, one.aliases, one.deprecated is not None)
        for name, one in found.options.items()
    }
    assert (kept.tool_parsers, kept.reasoning_parsers) == (found.tool_parsers, found.reasoning_parsers)


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_span_says_what_held(held: list[bool]) -> None:
    """A span that was made of versions covers them and no other."""
    names = [f"0.{number}.0" for number in range(len(held))]
    if not any(held):
        assert "" == spans.text(held, names)  # never asked: what is nowhere is not in a file
        return
    span = spans.text(held, names)

    assert held == [spans.covers(span, names, name) for name in names]


found_options = st.builds(
    Found,
    st.sampled_from(["flag", "int", "str"]),
    st.sets(st.sampled_from("abc")).map(lambda names: tuple(sorted(names))),
    st.sets(st.sampled_from(["x", "y"])).map(lambda names: tuple(sorted(names))),
    st.booleans(),
)


@given(st.lists(st.dictionaries(st.sampled_from(["one", "two"]), found_options), min_size=1, max_size=6))
def test_releases_survive_the_file(rows: list[dict[str, Found]]) -> None:
    """Whatever came, went, and came again in a row of releases comes out of the file as it went in."""
    releases = {
        f"1.{number}.0": Release("vllm", f"1.{number}.0", "here", options, image={"port": number % 2})
        for number, options in enumerate(rows)
    }

    assert releases == storage.expand(storage.compress(releases))


def test_tables_are_not_changed_by_who_reads_them() -> None:
    """A table is a value: what one caller is given, another cannot change."""
    with pytest.raises(ValueError, match="frozen"):
        table("vllm", "0.32.0").version = "1"  # type: ignore[misc]
    assert isinstance(table("vllm", "0.32.0"), Table)
