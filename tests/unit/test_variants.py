"""The catalogue of models, and own ones."""

from __future__ import annotations

import pytest

from hermeion.memory import weight_bytes
from hermeion.variants import CatalogEntry, Variant, built_in_catalog, merge_catalog
from tests.unit.builders import OWN

VARIANTS = [variant for variants in built_in_catalog().values() for variant in variants]


def test_models() -> None:
    """The catalogue has these models, in its own order."""
    assert [
        "hermes-3-3b",
        "hermes-3-8b",
        "hermes-3-70b",
        "hermes-3-405b",
        "hermes-4-14b",
        "hermes-4-70b",
        "hermes-4-405b",
        "hermes-4.3-36b",
    ] == list(built_in_catalog())


def test_most_bits_first() -> None:
    """Variants of a model come in the order in which the planner tries them, bf16 before fp8."""
    orders = {name: [v.precision for v in variants] for name, variants in built_in_catalog().items()}

    assert {} == {name: order for name, order in orders.items() if order not in (["bf16"], ["bf16", "fp8"])}


def test_names_and_repositories_are_unique() -> None:
    """A short name and a repository each stand for one variant."""
    assert len(VARIANTS) == len({v.name for v in VARIANTS}) == len({v.repo for v in VARIANTS})


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_bytes_follow_from_the_shape(variant: Variant) -> None:
    """The size written down and the weights computed from the shape agree to 1 %."""
    shape = variant.shape
    in_memory = weight_bytes(variant, 1) - shape.max_context * shape.head_dim * 2

    assert variant.bytes == pytest.approx(in_memory, rel=0.01)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_hermes_parsers(variant: Variant) -> None:
    """Every Hermes calls tools as `hermes`; Hermes 4 thinks, Hermes 3 does not."""
    reasoning = None if variant.model.startswith("hermes-3") else "deepseek_v3"

    assert ("hermes", reasoning) == (variant.tool_parser, variant.reasoning_parser)


def test_own_model() -> None:
    """An own model becomes a variant with the defaults of a Hermes 4, and its own numbers."""
    variant = CatalogEntry.model_validate(OWN).to_variant()

    assert {
        "name": "my-llama",
        "model": "my-llama",
        "repo": "me/my-llama",
        "revision": None,
        "precision": "bf16",
        "bytes": 16_060_522_496,
        "tool_parser": "hermes",
        "reasoning_parser": "deepseek_v3",
        "sampling": {},
        "shape": {
            **{key: value for key, value in OWN.items() if key not in {"name", "repo", "bytes"}},
            "tied_embeddings": False,
            "qkv_bias": False,
        },
    } == variant.to_json()


def test_own_model_hides_built_in_one() -> None:
    """An own model of a known name takes its place; the others stay."""
    merged = merge_catalog([CatalogEntry.model_validate({**OWN, "name": "hermes-3-8b"})])

    assert "me/my-llama" == merged["hermes-3-8b"][0].repo
    assert set(built_in_catalog()) == set(merged)
