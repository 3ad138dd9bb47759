"""The files of a release. Templates print values and decide nothing; same plan, same bytes."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError

from hermeion.engines import vllm
from hermeion.errors import RenderError
from hermeion.plans import Service
from hermeion.records import Record


class RenderedFile(Record):
    """A file of a release. ``path`` is relative to the release's folder; ``mode`` is octal text."""

    path: str
    content: str
    mode: str = "644"

    @property
    def sha256(self) -> str:
        """Hash of the content, hexadecimal."""
        return hashlib.sha256(self.content.encode()).hexdigest()


def quote_compose(value: object) -> str:
    """A value as a YAML scalar in a Compose file: JSON is YAML, and Compose replaces ``$word`` unless doubled."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")


def quote_unit(value: object) -> str:
    """A value in a unit file, where ``%`` begins a specifier."""
    return str(value).replace("%", "%%")


@cache
def _environment(templates: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(templates),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701  # not HTML; every value goes through a quoting filter
    )
    environment.filters |= {"compose": quote_compose, "unit": quote_unit}
    return environment


def _fill(templates: Path, name: str, service: Service) -> str:
    try:
        return _environment(templates).get_template(name).render(service=service, engine=vllm)
    except UndefinedError as error:
        raise RenderError(f"templates/{name}: {error}") from error


def plan_json(service: Service) -> str:
    """The plan as it lies on the host."""
    return json.dumps(service.to_json(), indent=2, sort_keys=True) + "\n"


def render_files(service: Service, templates: Path) -> tuple[RenderedFile, ...]:
    """Every file of a release, sorted by path. No secret is in any of them.

    Raises:
        RenderError: A template names something the plan does not have.
    """
    config = yaml.safe_dump(service.config, sort_keys=True, default_flow_style=False, allow_unicode=True)
    files = (
        RenderedFile(path="assemble-config.sh", content=_fill(templates, "assemble-config.sh.j2", service)),
        RenderedFile(path="compose.yaml", content=_fill(templates, "compose-vllm.yaml.j2", service)),
        RenderedFile(path="engine.yaml", content=config),
        RenderedFile(path="plan.json", content=plan_json(service)),
        RenderedFile(path=service.unit, content=_fill(templates, "hermeion-compose.service.j2", service)),
    )
    return tuple(sorted(files, key=lambda file: file.path))
