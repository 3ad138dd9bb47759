"""Plans in a terminal: bars, legends, tables, and the whole reasoning."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from hermeion.bars import COLOURS, bar, cells, legend
from hermeion.explanations import explain_host
from hermeion.fleet import make_fleet
from hermeion.memory_terms import LETTERS, Term
from hermeion.pictures import bytes_of, clean, plan_picture, wrapped
from hermeion.plans import Rejection
from hermeion.units import GIB
from hermeion.views import requests
from tests.unit.builders import make_probe
from tests.unit.planned import fleet, host, host_report


def terms(**sizes: int) -> list[Term]:
    """Parts by name, ``_`` for a blank."""
    named = {name.replace("_", " "): size for name, size in sizes.items()}
    return [Term(name=name, letter=LETTERS[name], bytes=size, meaning="") for name, size in named.items()]


def printed(parts: RenderableType | Iterable[Text], width: int = 80, *, colour: bool = False) -> str:
    """What a terminal shows."""
    file = io.StringIO()
    system = "truecolor" if colour else None
    console = Console(file=file, width=width, force_terminal=colour, color_system=system, legacy_windows=False)  # type: ignore[arg-type]
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        for part in parts:
            console.print(part)
    else:
        console.print(parts)
    return file.getvalue()


@pytest.mark.parametrize("width", [3, 10, 40, 77, 200])
def test_cells_fill_the_bar(width: int) -> None:
    """The parts fill the bar exactly, by their share, and none is lost."""
    parts = terms(weights=700 * GIB, scales=1, activations=GIB)
    found = cells(parts, width)

    assert width == sum(found)
    assert all(count >= 1 for count in found)
    assert max(found) == found[0]


def test_cells_follow_the_share() -> None:
    """Half the memory is half the bar."""
    assert [20, 10, 10] == cells(terms(weights=2, KV_cache=1, left_alone=1), 40)


def test_bar_without_colour() -> None:
    """Without colour each part has its own letter, so that nothing depends on colour."""
    text = bar(terms(weights=4, KV_cache=3, margin=1, left_alone=2), 12, plain=True)

    assert "[WWWWKKKm..]" == text.plain
    assert [] == text.spans


def test_bar_with_colour() -> None:
    """With colour a part carries its name, or its letter where there is no room."""
    text = bar(terms(weights=30, margin=2, left_alone=8), 40, plain=False)

    assert f"{'weights':^30}" == text.plain[:30]
    assert 40 == len(text.plain)
    assert [f"black on {COLOURS[name]}" for name in ("weights", "margin", "left alone")] == [
        str(span.style) for span in text.spans
    ]


def test_legend_names_every_part() -> None:
    """The legend has letter, name and bytes of each part, in lines that fit."""
    parts = terms(weights=15 * GIB, activations=GIB, KV_cache=5 * GIB)
    lines = [line.plain for line in legend(parts, 40, plain=True)]

    assert ["W weights 15.0 GiB", "a activations 1.0 GiB", "K KV cache 5.0 GiB"] == re.split(
        r" {3}|\n", "\n".join(lines)
    )
    assert all(len(line) <= 40 for line in lines)
    assert " W  weights 15.0 GiB" == legend(parts, 40, plain=False)[0].plain


def test_every_part_has_a_colour() -> None:
    """No part of a budget is without a colour, and no colour stands for two."""
    assert set(LETTERS) == set(COLOURS)
    assert len(COLOURS) == len(set(COLOURS.values()))


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_too_long(width: int) -> None:
    """At 80 columns nothing is cut off and no line is longer."""
    text = printed(plan_picture(fleet(), width, plain=True), width)

    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text.replace("… and", "")


def test_plan_without_colour() -> None:
    """A person without colour sees hosts, bars, legend, cache, estimates, remarks and rejections."""
    text = printed(plan_picture(fleet(), 80, plain=True))
    flat = " ".join(text.split())

    assert "\x1b" not in text
    for part in (
        "0000:01:00.0 [WWWWW",
        "W weights 15.0 GiB",
        "KV cache: 40064 tokens promised, 44160 expected; 1 request of the whole context at once",
        "estimate: pull of the weights about 2 min 08 s (15.0 GiB over 1 Gbit/s, if neither",
        "estimate: start about 1 min 16 s",
        "estimate: decoding at most 63 tokens/s (one request;",
        "remark: weight-only: compute capability 8.6 stores fp8 weights and computes in 16 bits",
        "remark: a pipeline of 3 stages: one request is no faster than on one GPU",
        "- hermes-4-70b-bf16 on 1 × NVIDIA L40S: weights and overhead need",
        "more: hermeion explain big",
        "refused refused: hermes: hermes-4-405b fits on no free GPU of this host.",
        "What would fit: ",
        "away not planned: could not connect",
    ):
        assert part in flat


def test_a_bar_for_each_gpu() -> None:
    """Eight GPUs have eight bars and one legend."""
    text = printed(plan_picture(fleet().model_copy(update={"hosts": (host("eight"),)}), 80, plain=True))

    assert [f"0000:{number:02x}:00.0" for number in range(1, 9)] == re.findall(
        r"^ +(0000:\S+) +\[W", text, re.MULTILINE
    )
    assert 1 == text.count("W weights")


def test_plan_with_colour() -> None:
    """In a terminal parts are coloured blocks with their names."""
    text = printed(plan_picture(fleet(), 120, plain=False), 120, colour=True)

    assert "\x1b[30;48;2;108;182;255m" in text
    assert "[WW" not in text


def test_bytes_of_a_rejection() -> None:
    """What is needed and what is there, or nothing where memory was not the reason."""
    rejection = Rejection(service="s", option="o", reason="r", needed=3 * GIB, available=GIB)

    assert " (in all 3.0 GiB a GPU needed, 1.0 GiB available)" == bytes_of(rejection)
    assert "" == bytes_of(Rejection(service="s", option="o", reason="r"))


def test_number_of_requests() -> None:
    """One request is no requests."""
    assert ["0 requests", "1 request", "2 requests"] == [requests(count) for count in range(3)]


def test_wrapping() -> None:
    """Lines are broken between words; a word that is longer than a line is left whole."""
    assert ["  one two", "    three", "    fourfourfourfour", "    five"] == [
        line.plain for line in wrapped("one two three fourfourfourfour\nfive", 12, 2)
    ]


def test_hosts_do_not_steer_the_terminal() -> None:
    """Control characters that a host sends as its GPU's name are not printed, and brackets are no markup."""
    evil = "\x1b]0;owned\x07[red]card[/red]\x9b2J"
    rows = [f"GPU-00000000-1111-2222-3333-444444444444, {evil}, 00000000:01:00.0, 46068, 0, 8.9, 580.95.05, [N/A]"]
    data = host_report("one", make_probe(["ffff"], smi=(0, rows)))
    made = make_fleet({"hosts": {"one": data}, "failed": {evil: f"{evil}: {evil}"}})
    texts = [
        printed(plan_picture(made, 80, plain=True)),
        printed(explain_host(made.hosts[0], "hermes", 80, plain=True)),
        printed(explain_host(made.hosts[1], evil, 80, plain=True)),
    ]

    assert "\ufffd]0;owned\ufffd[red]card[/red]\ufffd2J" == clean(evil)
    for text in texts:
        assert not set(text) & {"\x1b", "\x07", "\x9b"}
        assert "[red]card[/red]" in text


def explained(name: str, service: str = "hermes") -> str:
    """The reasoning for a service, on one line."""
    text = printed(explain_host(host(name), service, 80, plain=True))
    assert max(len(line) for line in text.splitlines()) <= 80
    return " ".join(text.split())


def test_explanation_of_a_choice() -> None:
    """The reasoning has what was wanted, found, tried with bytes, taken, memory by term, cache, estimates, remarks."""
    text = explained("pipeline", "big")

    for part in (
        'big on pipeline Wanted model = "hermes-4-70b" context = 65536 everything else at its default',
        "Found 0000:01:00.0 NVIDIA L40S: used by big, 45.0 GiB",
        "0000:04:00.0 NVIDIA L40S: used by small, 45.0 GiB",
        "driver: leave alone: driver 580.178.04 answers and is new enough",
        "Tried, in this order - hermes-4-70b-bf16 on 1 × NVIDIA L40S no: weights and overhead need",
        "Taken + hermes-4-70b-fp8 on 3 × NVIDIA L40S, 65536 tokens × 256 requests",
        "Memory of each GPU (of the fullest)",
        "The fp8 weights (67.7 GiB of files): the layers of the fullest of 3 pipeline stages.",
        "Together 44.4 GiB (47663022080 bytes): what CUDA sees of the GPU.",
        "KV cache 153904 tokens promised, 158752 expected; 2 requests of the whole context at once",
        "Estimates (nothing here was measured) pull of the weights: about 9 min 41 s from: 67.7 GiB over 1 Gbit/s",
        "Remarks - a pipeline of 3 stages: one request is no faster than on one GPU",
    ):
        assert part in text
    rejections = host("pipeline").services[0].rejections
    assert all(rejection.option in text and bytes_of(rejection).strip() in text for rejection in rejections)
    assert all(term.meaning in text for term in host("pipeline").services[0].terms)


def test_explanation_of_a_refusal() -> None:
    """A refusal has every option with its bytes, and what would fit."""
    text = explained("refused")

    assert (
        "Refused hermes: hermes-4-405b fits on no free GPU of this host. Tried, in this order - hermes-4-405b" in text
    )
    assert "What would fit" in text
    assert all(rejection.option in text for rejection in host("refused").rejections)


def test_explanation_where_another_service_is_refused() -> None:
    """A service on a host that is refused for another one was not judged, and that is said."""
    data = host_report(
        "one",
        make_probe(),
        {"name": "hermes", "model": "hermes-3-8b"},
        {"name": "huge", "model": "hermes-4-405b", "port": 8001},
    )
    view = make_fleet({"hosts": {"one": data}, "failed": {}}).hosts[0]
    text = " ".join(printed(explain_host(view, "hermes", 80, plain=True)).split())

    assert "the host is refused for huge; hermes was not judged by itself" in text


def test_explanation_of_a_host_that_did_not_answer() -> None:
    """Of a host that did not answer nothing more is said."""
    assert "hermes on away not planned: could not connect" == explained("away")


def test_explanation_where_the_first_option_fits() -> None:
    """Nothing was rejected where the first option fits."""
    assert "Tried, in this order nothing else: the first option fits Taken" in explained("one")
