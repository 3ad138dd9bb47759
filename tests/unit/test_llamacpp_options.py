"""llama-server's command line as plans make it. The real parser is asked in tests/parsers/test_llama_server.py."""

from __future__ import annotations

import pytest

from hermeion.engines import llamacpp
from hermeion.engines.llamacpp_options import PLANNED, sampling_options, words
from hermeion.engines.options import normalise
from hermeion.engines.places import places_of
from hermeion.engines.protocol import Layout, Load, Setup
from hermeion.engines.tables import table
from hermeion.memory.kv_cache import KvPrecision
from hermeion.planner import make_plan
from hermeion.plans import Service
from hermeion.sources import HubFile, Sources, settle
from tests.unit.builders import DIGEST, L40S, NAME, REVISION, make_probe, make_spec
from tests.unit.test_llamacpp import make_gpu, make_variant

KNOWN = table("llamacpp", "b11669")
FOUR = {"name": "hermes", "model": "hermes-4-14b", "variant": "q5_k_m", "engine": "llamacpp"}
FILE = "NousResearch_Hermes-4-14B-Q5_K_M.gguf"


def service_of(*, there: int = 1, **changes: object) -> Service:
    """A planned service of llama.cpp; Hermes 4 14B on so many L40S unless said otherwise."""
    return make_plan(NAME, make_spec(FOUR | changes), make_probe((L40S,) * there)).services[0]


def settled(service: Service, *names: str) -> Service:
    """The service with commit, files and digest filled in."""
    files = tuple(HubFile(path=name, size=1, sha256="ab" * 32) for name in names)
    return settle(service, Sources(revision=REVISION, files=files, digest=DIGEST, image_bytes=1))


@pytest.mark.parametrize("name", sorted(PLANNED))
def test_planned_options_are_llama_servers(name: str) -> None:
    """What extra_args may not set is an option of the build, by the name that the table gives it."""
    option = KNOWN.find(name)

    assert option
    assert name == option.name


@pytest.mark.parametrize(
    ("there", "changes"),
    [(1, {}), (2, {"gpus": 2, "thinking": True}), (1, {"model": "hermes-3-8b", "variant": "q4_k_m"})],
)
def test_every_option_is_in_the_table(there: int, changes: dict[str, object]) -> None:
    """No option of a plan is misspelled, and none goes by an alias under which extra_args would not meet it."""
    config = service_of(there=there, **changes).config

    assert {} == {name: KNOWN.find(name) for name in config if name not in KNOWN.options}


@pytest.mark.parametrize(("kv", "expected"), [("bf16", set()), ("q8_0", {"q8_0"})])
def test_cache_precision(kv: KvPrecision, expected: set[str]) -> None:
    """A cache of 8 bits is asked for keys and values; 16 bits are llama-server's own."""
    service = service_of()
    spec = make_spec(FOUR).hermes_services[0]
    setup = Setup(
        spec=spec,
        variant=make_variant(),
        version="b11669",
        revision=None,
        gpus=[make_gpu()],
        layout=Layout(1, 1),
        load=Load(8192, 1, kv),
        served_names=service.served_names,
        places=places_of(service, 8080),
        start_seconds=1,
    )

    assert expected == {value for name, value in llamacpp.config(setup).items() if name.startswith("cache-type")}


def test_the_whole_command_line() -> None:
    """Hermes 4 14B with 2 requests of 8192 tokens: context times requests, all layers, nothing left to chance."""
    service = settled(service_of(context=8192, sequences=2), FILE)
    folder = f"/models/hub/models--bartowski--NousResearch_Hermes-4-14B-GGUF/snapshots/{REVISION}"

    assert (
        *("--alias", "hermes,bartowski/NousResearch_Hermes-4-14B-GGUF"),
        *("--api-key-file", "/run/hermeion/api-keys"),
        *("--chat-template-kwargs", '{"thinking": false}'),
        *("--ctx-size", "16384"),
        *("--fit", "off"),
        *("--flash-attn", "on"),
        *("--host", "0.0.0.0"),  # noqa: S104  # inside the container
        "--jinja",
        "--no-kv-unified",
        "--metrics",
        *("--min-p", "0.0"),
        *("--model", f"{folder}/{FILE}"),
        *("--n-gpu-layers", "all"),
        "--offline",
        *("--parallel", "2"),
        *("--port", "8080"),
        *("--reasoning-format", "deepseek"),
        *("--repeat-penalty", "1.0"),
        "--no-slots",
        *("--temperature", "0.6"),
        *("--top-k", "20"),
        *("--top-p", "0.95"),
        "--no-ui",
    ) == llamacpp.arguments(service)


def test_several_gpus_have_equal_parts() -> None:
    """llama-server's own split follows the memory that is free at the hour of the start; the plan's is equal."""
    config = service_of(there=3, gpus=3).config

    assert ("layer", "1,1,1") == (config["split-mode"], config["tensor-split"])


def test_first_part_of_a_split_file() -> None:
    """Of a file in parts llama-server is given the first, whatever order the Hub lists them in."""
    service = service_of(there=4, model="hermes-3-70b", variant="q8_0", gpus=4)
    parts = [f"Hermes-3-Llama-3.1-70B-Q8_0/Hermes-3-Llama-3.1-70B-Q8_0-0000{n}-of-00003.gguf" for n in (3, 1, 2)]

    assert settled(service, *parts).config["model"].endswith("-Q8_0/Hermes-3-Llama-3.1-70B-Q8_0-00001-of-00003.gguf")


def test_file_in_a_folder_of_the_host() -> None:
    """An own GGUF file is found where the folder is mounted."""
    entry = {
        "name": "own",
        "path": "/srv/own",
        "file": "own-Q8_0.gguf",
        "precision": "q8_0",
        "bytes": 8_000_000_000,
        "shape": {
            "layers": 32,
            "hidden": 4096,
            "intermediate": 14336,
            "heads": 32,
            "kv_heads": 8,
            "head_dim": 128,
            "vocab": 128256,
            "max_context": 8192,
        },
    }
    spec = make_spec({"name": "own", "model": "own", "engine": "llamacpp"}, hermes_catalog=[entry])
    service = make_plan(NAME, spec, make_probe((L40S,))).services[0]

    assert "/models/local/own-Q8_0.gguf" == llamacpp.pinned(service)["model"]


def test_thinking_by_default() -> None:
    """A service that thinks says so to the template; a model that cannot think gets no such word."""
    three = service_of(model="hermes-3-8b", variant="q4_k_m", thinking=True).config

    assert ('{"thinking": true}', False) == (
        service_of(thinking=True).config["chat-template-kwargs"],
        "chat-template-kwargs" in three or "reasoning-format" in three,
    )


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({}, {}),
        (
            {"temperature": 0.8, "repetition_penalty": 1.1},
            {"temperature": 0.8, "repeat-penalty": 1.1, "top-p": 1.0, "top-k": 0, "min-p": 0.0},
        ),
        (
            {"top_p": 0.9, "top_k": 5, "min_p": 0.1, "unheard": 1},
            {"top-p": 0.9, "top-k": 5, "min-p": 0.1, "repeat-penalty": 1.0},
        ),
        ({"unheard": 1}, {}),
    ],
)
def test_sampling(sampling: dict[str, float], expected: dict[str, float]) -> None:
    """A card's sampling is not mixed with llama-server's; without a card its own stays."""
    assert expected == sampling_options(sampling)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"no-warmup": True}, ("--no-warmup",)),
        ({"warmup": True}, ("--warmup",)),
        ({"warmup": False}, ("--no-warmup",)),
        ({"metrics": False}, ()),
        ({"temp": 0.1}, ("--temperature", "0.1")),
        ({"cache-ram": 0}, ("--cache-ram", "0")),
        ({"cram": -1}, ("--cache-ram", "-1")),
        ({"grammar": "--x"}, ("--grammar", "--x")),
    ],
)
def test_more_options(extra: dict[str, object], expected: tuple[str, ...]) -> None:
    """More options replace the plan's own, under whatever spelling; a flag that has no opposite is left out."""
    plain = service_of()
    name = normalise("llamacpp", "b11669", extra).keys()
    more = {key: value for key, value in service_of(extra_args=extra).config.items() if key in name}

    assert expected == words(KNOWN, more)
    assert set(plain.config) | set(name) == set(service_of(extra_args=extra).config)
