"""Imports SGLang's ``server_args`` where nothing that SGLang needs is installed.

Everything that is neither of the standard library, nor of SGLang, nor in :data:`REAL`, is an empty stand-in: torch,
transformers and the rest. A module of SGLang's own that cannot be loaded so becomes a stand-in too, but not those that
make the parser. What a stand-in gives is false, empty and zero.
"""

from __future__ import annotations

import abc
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

REAL = frozenset({"sglang", "msgspec", "packaging", "yaml", "typing_extensions", "tools"})
"""Packages that are taken as they are; SGLang's arguments are msgspec structures since 0.5.20."""

NEEDED = ("sglang.srt.server_args", "sglang.srt.arg_groups")
"""Modules that must load: a failure there is an error."""

ABSENT = frozenset({"npu", "musa", "torch_npu"})
"""Attributes by whose presence SGLang recognises hardware."""


class _Meta(abc.ABCMeta):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith(("__", "_abc")):
            raise AttributeError(name)
        return _stand_in(name)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if "_is_stand_in" not in cls.__dict__:
            return super().__call__(*args, **kwargs)
        if len(args) == 1 and not kwargs and isinstance(args[0], types.FunctionType | type):
            return args[0]  # a decorator
        return _stand_in(cls.__name__)

    def __getitem__(cls, item: object) -> Any:
        return cls

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __or__(cls, other: object) -> Any:
        return cls

    __ror__ = __or__

    def __bool__(cls) -> bool:
        return False

    def __lt__(cls, other: object) -> bool:
        return False

    __gt__ = __le__ = __ge__ = __contains__ = __lt__

    def __enter__(cls) -> Any:
        return cls

    def __exit__(cls, *error: object) -> None:
        return None

    def __len__(cls) -> int:
        return 0

    __int__ = __index__ = __len__

    def __add__(cls, other: Any) -> Any:
        return other

    __radd__ = __mul__ = __rmul__ = __sub__ = __add__


def _stand_in(name: str) -> Any:
    return _Meta(name, (), {"_is_stand_in": True, "__init_subclass__": classmethod(_take_all)})


def _take_all(cls: type, /, **options: Any) -> None:  # class X(StandIn, frozen=True)
    """A stand-in takes every option of a class statement."""


class _Module(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012  # what the import system reads of a package

    def __getattr__(self, name: str) -> Any:
        if name == "__version__":
            return "99.0.0"  # newer than any minimum
        if name.startswith("__") or name in ABSENT:
            raise AttributeError(name)
        value = _stand_in(name)
        setattr(self, name, value)
        return value


class _Lenient(importlib.abc.Loader):
    def __init__(self, inner: importlib.abc.Loader) -> None:
        self.inner = inner

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        try:
            self.inner.exec_module(module)
        except Exception:  # whatever a module does with a stand-in
            if module.__name__.startswith(NEEDED):
                raise
            module.__class__ = _Module


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,  # noqa: ARG002  # the protocol's
    ) -> importlib.machinery.ModuleSpec | None:
        top = name.partition(".")[0]
        if top in ABSENT:
            raise ModuleNotFoundError(name)
        if top == "sglang":
            spec = importlib.machinery.PathFinder.find_spec(name, path)
            if spec and spec.loader:
                spec.loader = _Lenient(spec.loader)
            return spec
        if top in sys.stdlib_module_names or top in REAL:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def server_args(folder: Path) -> Any:
    """SGLang's ``ServerArgs`` class out of an unpacked wheel. For a process of its own: imports stay changed."""
    sys.path.insert(0, str(folder))
    sys.meta_path.insert(0, _Finder())
    root = types.ModuleType("sglang")  # its own __init__ starts the whole front end
    root.__path__ = [str(folder / "sglang")]
    sys.modules["sglang"] = root
    return importlib.import_module("sglang.srt.server_args").ServerArgs
