"""Model files in, Graph out: one folder per file format, named like the suffix that it reads."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from ..errors import CompileError, shown
from ..ir.graph import Graph
from ._names import model_identifier

__all__ = ["load_model", "model_identifier", "shown", "suffixes"]


def suffixes() -> tuple[str, ...]:
    """The file suffixes that can be read, without the dot: the public folders of this room."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def load_model(path: Path | str, name: str | None = None, output: str | None = None) -> Graph:
    """Reads a model file of any known format.

    `name` replaces the name made from the file's, `output` is the one of several outputs that has the scores,
    as the file calls it.

    Raises CompileError if the suffix is unknown or the file does not hold a network that can be compiled.
    """
    path = Path(path)
    suffix = path.suffix[1:].lower()
    if suffix not in suffixes():
        known = ", ".join(f".{s}" for s in suffixes())
        what = f'suffix "{path.suffix}" is no known model format' if suffix else "the file has no suffix"
        raise CompileError(str(path), what, f"give a model file ending in {known}")
    graph = importlib.import_module(f".{suffix}", __name__).load(path, name, output)
    assert isinstance(graph, Graph)
    return graph
