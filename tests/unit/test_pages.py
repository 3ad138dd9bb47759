"""The page: whole, well-formed, self-contained, and safe whatever a host is called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hermeion.errors import RenderError
from hermeion.fleet import make_fleet
from hermeion.memory_terms import LETTERS, Term
from hermeion.pages import described, grouped, label, part_class, render_page, share
from hermeion.plans import Rejection
from hermeion.units import format_bytes
from hermeion.views import Fleet
from tests.unit.builders import TEMPLATES, make_probe
from tests.unit.planned import fleet, host, host_report

VOID = {"meta", "br", "hr", "img", "link", "input"}
EVIL = "<script>alert(1)</script>\"'&{{ 7 * 7 }}<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Reads a page strictly: every element is closed, in order; collects elements, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert [] == self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} has an attribute twice: {names}"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"{tag} is closed and was not open"
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a person reads, on one line."""
        return re.sub(r"[ \n]+", " ", " ".join(self.words))

    def values(self, name: str) -> Iterator[str]:
        """Values of an attribute, whatever element has it."""
        return (value for _, attribute, value in self.attributes if attribute == name)


def rendered(value: Fleet | None = None, inventory: str = "inventory.py") -> str:
    """The page as text."""
    return render_page(value or fleet(), TEMPLATES, inventory=inventory, made="1 December 2026")


def test_page_is_well_formed() -> None:
    """Every element is closed where it must be, and ids are unique and linked to."""
    page = Page(rendered())
    ids = list(page.values("id"))

    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in page.values("href")} <= set(ids)
    assert ("html", "lang", "en") in page.attributes
    assert 1 == page.tags.count("h1") == page.tags.count("main") == page.tags.count("title")


def test_page_needs_nothing_else() -> None:
    """No script, no network: nothing is loaded, and a policy in the page forbids it."""
    text = rendered()
    page = Page(text)

    assert not {"script", "link", "iframe", "img", "object", "embed", "form", "base"} & set(page.tags)
    assert not {"src", "srcset", "action", "onclick", "onload"} & {name for _, name, _ in page.attributes}
    assert all(value.startswith("#") for value in page.values("href"))
    assert not re.search(r"https?:|url\(|@import|//", text)
    assert "default-src 'none'; style-src 'unsafe-inline'" in set(page.values("content"))


def test_page_is_for_light_dark_and_paper() -> None:
    """The page follows the person's preference and prints its bars."""
    text = rendered()

    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media print" in text
    assert "print-color-adjust: exact" in text


def test_page_tells_everything() -> None:
    """Who runs what, refusals with what would fit, rejections, remarks, estimates, cache and GPUs are there."""
    text = Page(rendered()).text

    for part in (
        "Plan of inventory.py",
        "Made 1 December 2026 from saved hosts, without a connection",
        "hermes: hermes-3-8b-bf16 on 1 × NVIDIA GeForce RTX 4090, 39936 tokens × 256 requests",
        "Remark: weight-only: compute capability 8.6 stores fp8 weights",
        "estimate pull of the weights: about 2 min 08 s (15.0 GiB over 1 Gbit/s",
        "40064 tokens promised, 44160 expected; 1 request of the whole context at once.",
        "Refused: hermes: hermes-4-405b fits on no free GPU of this host. What would fit: ",
        "Not planned: could not connect",
        "others hold 4.9 GiB of 24.0 GiB",
    ):
        assert part in text
    for view in fleet().hosts:
        rejections = view.rejections + tuple(r for service in view.services for r in service.rejections)
        for rejection in rejections:
            assert f"{rejection.option} {rejection.reason}" in text
            assert rejection.needed is None or format_bytes(rejection.needed) in text


def test_every_bar_has_words() -> None:
    """Each GPU has a bar that says in words what it shows, and each term's exact bytes stand in a table."""
    page = Page(rendered())
    labels = list(page.values("aria-label"))

    for view in fleet().hosts:
        for service in view.services:
            assert labels.count(described(service)) >= len(service.service.gpus)
            assert all(f"{grouped(term.bytes)}" in page.text for term in service.terms)
            assert all(term.meaning in page.text for term in service.terms)
    assert sum(len(service.service.gpus) for view in fleet().hosts for service in view.services) == len(labels)


def test_parts_of_a_bar_fill_it() -> None:
    """The widths of a bar's parts add up to all of it."""
    service = host("eight").services[0]
    widths = [float(share(term.bytes, service.device_bytes)) for term in service.terms]

    assert pytest.approx(100, abs=0.01) == sum(widths)


def test_labels() -> None:
    """A wide part of a bar carries its name, a narrow one its letter, a sliver nothing."""
    sizes = [20, 5, 1]

    assert ["KV cache", "K", ""] == [label(Term(name="KV cache", letter="K", bytes=n, meaning=""), 100) for n in sizes]


def test_helpers() -> None:
    """Numbers are grouped by thin spaces that do not break; shares of nothing are nothing."""
    assert "1\u202f234\u202f567" == grouped(1234567)
    assert ["0.000", "50.000", "0"] == [share(-1, 10), share(5, 10), share(5, 0)]


def test_every_part_has_a_style() -> None:
    """No part of a budget is without a colour of its own."""
    text = rendered()

    assert all(f".{part_class(name)} {{ background: " in text for name in LETTERS)


def hostile() -> Fleet:
    """A fleet in which every text is an attack."""
    rows = [f"GPU-<b>, {EVIL}, 00000000:01:00.0, 46068, 0, 8.9, 580.95.05, [N/A]"]
    data = host_report("one", make_probe(["ffff"], smi=(0, rows)))
    made = make_fleet({"hosts": {EVIL: data}, "failed": {EVIL + "2": EVIL}})
    view = made.hosts[0]
    service = view.services[0]
    attacked = service.model_copy(
        update={
            "option": EVIL,
            "remarks": (EVIL,),
            "rejections": (Rejection(service=EVIL, option=EVIL, reason=EVIL),),
            "service": service.service.model_copy(update={"repo": EVIL, "variant": EVIL, "path": EVIL}),
        }
    )
    changed = {"services": (attacked,), "pending": {"cache": (EVIL,)}}
    refused = view.model_copy(update={"services": (), "state": "refused", "message": f"{EVIL}\n{EVIL}"})
    return made.model_copy(update={"hosts": (view.model_copy(update=changed), refused, made.hosts[1])})


def test_hostile_texts_stay_texts() -> None:
    """Whatever a host, model, GPU or remark is called, it is text: no element and no attribute comes of it."""
    text = rendered(hostile(), inventory=EVIL)
    page = Page(text)

    assert not {"script", "img", "b"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "<script" not in text
    assert page.text.count(EVIL) >= 12
    assert set(page.tags) == set(Page(rendered()).tags) | {"pre"}


def test_template_that_names_too_much(tmp_path: Path) -> None:
    """A template that names what is not there is an error with its name."""
    (tmp_path / "plan.html.j2").write_text("{{ nothing }}")
    with pytest.raises(RenderError, match=r"^templates/plan\.html\.j2: 'nothing' is undefined$"):
        render_page(fleet(), tmp_path, inventory="i.py", made="now")


def test_an_empty_fleet_has_a_page() -> None:
    """No host is no error."""
    assert "Who runs what" in Page(rendered(Fleet(hosts=()))).text
