"""The generated parts of README.md: ``python -m hermeion.docs README.md`` writes them, ``--check`` compares."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from hermeion.inventory import (
    AptDistributionMirror,
    AptMirror,
    AptMirrors,
    ArchiveFileSpec,
    ArchiveSpec,
    DriverSpec,
    HostSpec,
    Mirrors,
    RpmMirrors,
    RuntimeSpec,
    S3Spec,
    ServiceSpec,
    SharingSpec,
)
from hermeion.records import Record
from hermeion.shapes import Experts, Latent, Shape
from hermeion.variants import CatalogEntry

TABLES: dict[str, type[Record]] = {
    "host": HostSpec,
    "service": ServiceSpec,
    "archive": ArchiveSpec,
    "archive-file": ArchiveFileSpec,
    "mirrors": Mirrors,
    "apt": AptMirrors,
    "rpm": RpmMirrors,
    "mirror": AptMirror,
    "distribution": AptDistributionMirror,
    "driver": DriverSpec,
    "runtime": RuntimeSpec,
    "sharing": SharingSpec,
    "s3": S3Spec,
    "catalog": CatalogEntry,
    "shape": Shape,
    "experts": Experts,
    "latent": Latent,
}


def type_name(annotation: Any) -> str:
    """A type as an inventory's author reads it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "None"
    if origin is Literal:
        return ", ".join(repr(value) for value in arguments)
    if origin in {Union, types.UnionType}:
        return " or ".join(type_name(argument) for argument in arguments)
    if origin is tuple:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return "dict"
    if hasattr(annotation, "__metadata__"):
        return type_name(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return "dict"
    return str(getattr(annotation, "__name__", annotation))


def table(model: type[Record]) -> str:
    """A Markdown table of a model's keys."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else repr(field.default)
        if isinstance(field.default, Record):
            default = "{}"
        elif field.default == ():
            default = "[]"
        meaning = (field.description or "").replace("|", "\\|")
        if field.examples:
            meaning += f" Example: `{field.examples[0]!r}`."
        rows.append(f"| `{name}` | {type_name(field.annotation)} | `{default}` | {meaning} |")
    return "\n".join(rows)


def fill(text: str) -> str:
    """Text with every generated block written anew."""
    for name, model in TABLES.items():
        block = f"<!-- begin generated: {name} -->\n{table(model)}\n<!-- end generated: {name} -->"
        pattern = rf"<!-- begin generated: {name} -->.*?<!-- end generated: {name} -->"
        text = re.sub(pattern, lambda _, block=block: block, text, flags=re.DOTALL)  # type: ignore[misc]
    return text


def main() -> None:
    """Entry point."""
    path = Path(sys.argv[-1])
    text = path.read_text()
    new = fill(text)
    if "--check" in sys.argv:
        if new != text:
            sys.exit(f"{path}: the generated parts are out of date. Run: make docs")
    else:
        path.write_text(new)


if __name__ == "__main__":
    main()
