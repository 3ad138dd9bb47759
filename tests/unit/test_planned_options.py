"""What an inventory adds to an engine's options, names and environment is in the plan, and makes another release."""

from __future__ import annotations

from typing import Any

import pytest

from hermeion.planner import make_plan, unread_models
from hermeion.plans import Service
from hermeion.variants import ModelFacts, built_in_catalog
from tests.unit.builders import NAME, RTX_4090, converged_answers, make_probe, make_spec, settled

LOCK = "vllm==0.33.0 --hash=sha256:ab\n"
NATIVE = {"runtime": "systemd", "requirements": "lock.txt"}
ENGINES: dict[str, dict[str, str]] = {
    "vllm": {},
    "sglang": {},
    "llamacpp": {"variant": "q8_0"},
    "ollama": {"variant": "q8_0"},
}


def wanted(**keys: Any) -> dict[str, Any]:
    """A service of Hermes 3 8B."""
    return {"name": "hermes", "model": "hermes-3-8b", **keys}


def service_of(lock: str | None = None, **keys: Any) -> Service:
    """The one service of a plan."""
    locks = {} if lock is None else {"hermes": lock}
    return make_plan(NAME, make_spec(wanted(**keys)), make_probe((RTX_4090,)), locks=locks).services[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_served_names(engine: str) -> None:
    """The service's name, the repository's, and those of the inventory, each once and in this order."""
    service = service_of(engine=engine, served_names=["gpt-4o-mini", "hermes"], **ENGINES[engine])

    assert ("hermes", service.repo, "gpt-4o-mini") == service.served_names


@pytest.mark.parametrize(("engine", "option"), [("vllm", "served-model-name"), ("llamacpp", "alias")])
def test_served_names_are_the_engine_s(engine: str, option: str) -> None:
    """An engine that takes several names is given all of them."""
    service = service_of(engine=engine, served_names=["gpt-4o-mini"], **ENGINES[engine])
    found = service.config[option]

    assert list(service.served_names) == (found.split(",") if isinstance(found, str) else found)


@pytest.mark.parametrize("engine", ENGINES)
def test_environment(engine: str) -> None:
    """Variables of the inventory are the process's, beside those of the engine."""
    plain = service_of(engine=engine, **ENGINES[engine])
    service = service_of(engine=engine, environment={"NCCL_DEBUG": "INFO"}, **ENGINES[engine])

    assert {**plain.environment, "NCCL_DEBUG": "INFO"} == service.environment
    assert plain.config == service.config


@pytest.mark.parametrize(
    ("engine", "name", "value"),
    [("vllm", "seed", 7), ("sglang", "random-seed", 7), ("llamacpp", "seed", 7)],
)
def test_extra_args(engine: str, name: str, value: object) -> None:
    """Options of the inventory stand beside the plan's own, which stay as they are."""
    plain = service_of(engine=engine, **ENGINES[engine])
    service = service_of(engine=engine, extra_args={name: value}, **ENGINES[engine])

    assert {**plain.config, name: value} == service.config


def test_extra_args_of_ollama_are_its_environment() -> None:
    """Ollama has no options but environment variables."""
    service = service_of(engine="ollama", variant="q8_0", extra_args={"OLLAMA_MAX_QUEUE": 64})

    assert "64" == service.environment["OLLAMA_MAX_QUEUE"]


@pytest.mark.parametrize(
    "keys",
    [
        {"served_names": ["gpt-4o-mini"]},
        {"environment": {"NCCL_DEBUG": "INFO"}},
        {"extra_args": {"seed": 7}},
        {"thinking": True},
        {"runtime": "systemd"},
    ],
)
def test_what_makes_another_release(keys: dict[str, Any]) -> None:
    """Each of them is another release, and asked for again after it was taken back."""
    plain, changed = service_of(), service_of(**keys)

    assert plain.release_id != changed.release_id
    assert plain.wanted != changed.wanted
    assert plain == service_of()


def test_another_lock_is_another_release() -> None:
    """The text of a lock decides: another text is another package and release, another path of the same is neither."""
    one, same, other = (
        service_of(lock, **{**NATIVE, "requirements": path})
        for lock, path in ((LOCK, "a.txt"), (LOCK, "b/c.txt"), (LOCK + "torch==2.13.0 --hash=sha256:cd\n", "a.txt"))
    )
    packages = [service.package and service.package.identity for service in (one, same, other)]

    assert one == same
    assert packages[0] == packages[1] != packages[2]
    assert one.release_id != other.release_id


def test_a_running_native_service_stays_while_its_lock_does() -> None:
    """A host that is as planned is left alone with the same lock, and planned anew with another."""
    spec = make_spec(wanted(**NATIVE))
    first = settled(make_plan(NAME, spec, make_probe((RTX_4090,)), locks={"hermes": LOCK}))
    probe = make_probe((RTX_4090,), **converged_answers(first))

    assert first.services == make_plan(NAME, spec, probe, locks={"hermes": LOCK}).services
    (other,) = make_plan(NAME, spec, probe, locks={"hermes": LOCK + "\n"}).services
    assert first.services[0].package != other.package


def test_an_own_model_is_read_again_when_its_lock_changed() -> None:
    """A running own model's files are not read again; with another lock the service is planned anew, and they are."""
    shape = built_in_catalog()["hermes-3-8b"][0].shape
    facts = {"mine": ModelFacts(revision=None, precision="bf16", bytes=16 * 10**9, shape=shape)}
    mine = {"name": "mine", "repo": "me/mine"}
    spec = make_spec({"name": "hermes", "model": "mine", **NATIVE}, hermes_catalog=[mine])
    running = settled(make_plan(NAME, spec, make_probe((RTX_4090,)), facts, {"hermes": LOCK}))
    probe = make_probe((RTX_4090,), **converged_answers(running))

    assert () == unread_models(NAME, spec, probe, {"hermes": LOCK})
    assert ("mine",) == unread_models(NAME, spec, probe, {"hermes": LOCK + "\n"})


def test_a_change_of_a_gguf_service_names_its_file() -> None:
    """What runs tells the commit: another plan of it has the weights' path, though nobody is asked for it again."""
    asked = wanted(variant="q8_0", gpus=1)
    now = settled(make_plan(NAME, make_spec(asked), make_probe()))
    spec, probe = make_spec({**asked, "context": 2048}), make_probe(**converged_answers(now))
    changed = make_plan(NAME, spec, probe).services[0]

    assert changed.is_final
    assert now.services[0].config["model"] == changed.config["model"]
    assert changed.config["model"].endswith(".gguf")
