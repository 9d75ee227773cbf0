"""Finds ops, rules and rows of tables: in our own folders, in installed packages, and where a user says.

An installed package offers a module under the entry point group `synapcc.rules` or `synapcc.ops`. A folder or
a file that is given to `add_path` may hold both; the C template of an op lies beside its file, as NAME.c.j2.
Rows of a table, such as the operators of a file format, stand in a mapping that is called as the table is.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from .errors import CompileError

Row = TypeVar("Row")

_paths: list[Path] = []  # what users named, in their order


def add_path(path: Path | str) -> None:
    """Makes the rules and ops of a folder, or of one .py file, known. CompileError where that cannot be."""
    given = Path(os.path.realpath(path))  # resolve() has an error of its own for links in a circle
    if given in _paths:
        return
    if not _files(given):
        raise CompileError(str(path), "holds no Python file", "give a folder of .py files, or one such file")
    _paths.append(given)
    for found in (_outside, _instances):
        found.cache_clear()
    try:
        _outside()
    except CompileError:
        _paths.remove(given)
        _outside.cache_clear()
        raise


def paths() -> tuple[str, ...]:
    """What users named, for another process to name again."""
    return tuple(map(str, _paths))


def outside_files() -> list[Path]:
    """The files of rules and ops that are not our own."""
    modules = (*_outside(), *_installed("synapcc.ops"), *_installed("synapcc.rules"))
    return sorted({Path(m.__file__) for m in modules if m.__file__})


def template_folders() -> list[Path]:
    """Where C templates of ops from outside lie: beside the files that define them."""
    files = [m.__file__ for m in (*_outside(), *_installed("synapcc.ops")) if m.__file__]
    return list(dict.fromkeys(Path(f).parent for f in files))


def instances(base: type, key: str, package: str, path: Iterable[str], group: str) -> dict[str, Any]:
    """One instance of every finished subclass of `base`, sorted by its attribute `key`, which is unique.

    package, path: the folder of our own files; group: the entry points of installed packages.
    """
    return _instances(base, key, package, tuple(path), group)


@cache
def _instances(base: type, key: str, package: str, path: tuple[str, ...], group: str) -> dict[str, Any]:
    own = [importlib.import_module(f"{package}.{m.name}") for m in pkgutil.iter_modules(path)]
    found: dict[str, Any] = {}
    for module in (*own, *_installed(group), *_outside()):
        for c in _classes(module, base):
            name = getattr(c, key)
            if name in found:
                there = inspect.getsourcefile(type(found[name]))
                where = inspect.getsourcefile(c) or module.__name__
                raise CompileError(where, f'"{name}" is there already, in {there}', "give it another name")
            found[name] = c()
    return dict(sorted(found.items()))


def rows(table: str, own: Mapping[str, Row]) -> Mapping[str, Row]:
    """`own`, a table called `table`, with the rows that ops from outside bring: their mappings of that name.

    CompileError for a row that is there already.
    """
    found = dict(own)
    for module in (*_installed("synapcc.ops"), *_outside()):
        for key, row in getattr(module, table, {}).items():
            if found.setdefault(key, row) is not row:
                where = module.__file__ or module.__name__
                raise CompileError(where, f'{table} has "{key}" already', "give it another name")
    return found


def _classes(module: ModuleType, base: type) -> list[type]:
    """Finished subclasses of `base` that the module itself defines."""
    return [
        c
        for c in vars(module).values()
        if isinstance(c, type)
        and issubclass(c, base)
        and c.__module__ == module.__name__
        and not inspect.isabstract(c)
    ]


@cache
def _installed(group: str) -> tuple[ModuleType, ...]:
    modules = []
    for point in sorted(entry_points(group=group), key=lambda p: (p.name, p.value)):
        try:
            modules.append(importlib.import_module(point.module))
        except Exception as error:  # an installed package may fail in any way
            raise _broken(f"{group} of {point.value}", error) from None
    return tuple(modules)


@cache
def _outside() -> tuple[ModuleType, ...]:
    return tuple(_load(file) for path in _paths for file in _files(path))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.glob("*.py") if p.is_file())
    return [path] if path.suffix == ".py" and path.is_file() else []


def _load(file: Path) -> ModuleType:
    name = f"synapcc_outside_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None, file
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may fail in any way
        del sys.modules[name]
        raise _broken(str(file), error) from None
    return module


def _broken(where: str, error: Any) -> CompileError:
    return CompileError(
        where,
        f"cannot be loaded ({type(error).__name__}: {error})",
        "synapcc docs RULES says what such a file holds",
    )
