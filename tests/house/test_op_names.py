"""An op is named in its own files and in the tables: to import, export and benchmark one needs no other."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from synapcc.gen.emit.templates import ROOT
from synapcc.gen.ops import kernels, layers

TABLES = (  # a row an op
    "gen/importers/_layers.py",
    "gen/exporters/_float_layers.py",
    "gen/exporters/_integer_kernels.py",
)
SETTLED = ("gen/importers/onnx/settle.py", "gen/importers/onnx/freed.py")
"""How ops of a quantised ONNX file end in its integers: a row each of those that may."""
PLACES = ("gen/importers", "gen/exporters", "gen/stages", "gen/emit", "gen/compile.py", "host")
OTHERWISE = {
    "host/pages/": {"div", "table"},
    "gen/stages/schedule.py": {"softmax"},
    "gen/stages/tables.py": {"table"},
    "gen/stages/stream.py": {"table"},
    "gen/stages/room.py": {"softmax"},
    "gen/stages/head.py": {"softmax"},
    "gen/stages/plan_check.py": {"softmax"},
    "gen/importers/onnx/operators.py": {"softmax"},
    "gen/importers/onnx/recurrent.py": {"clip"},
    "gen/importers/onnx/sklearn.py": {"softmax"},
    "gen/importers/tflite/ends.py": {"softmax"},
    "gen/exporters/_integer_softmax.py": {"table"},
    "gen/exporters/onnx.py": {"softmax"},
}
"""Words that mean something else there: an element of HTML, the operand that holds stored samples, a loss, a
network's head, an attribute of ONNX."""


def files() -> Iterator[tuple[str, ast.Module]]:
    for place in PLACES:
        path = ROOT / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield file.relative_to(ROOT).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def named(tree: ast.Module) -> set[str]:
    """The layers' ops that a file names: as a word, as a kernel's first half, or by importing their file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            op = node.value.split(".")[0] if node.value in kernels() else node.value
            found |= {op} & set(layers())
        elif isinstance(node, ast.ImportFrom) and node.module and "ops" in node.module.split("."):
            found |= {node.module.split(".")[-1], *(a.name for a in node.names)} & set(layers())
    return found


def test_only_the_tables_name_layers() -> None:
    told = {}
    for name, tree in files():
        words = [w for place, w in OTHERWISE.items() if name.startswith(place)]
        ops = named(tree).difference(*words)
        if ops and name not in (*TABLES, *SETTLED):
            told[name] = sorted(ops)
    assert told == {}, (
        "say it in the file of the op, as _folding.py and _bench.py of gen/ops let it, or in a table"
    )


def test_every_layer_has_its_rows() -> None:
    """What is searched for is found where it should be; untied and composed layers come from no file."""
    trees = dict(files())
    untied = {found.untied for found in layers().values()}
    importers, floats, integers = (named(trees[name]) for name in TABLES)
    assert set(layers()) - untied - {"composed"} <= importers
    assert set(layers()) <= floats
    assert {op for op in layers() if f"{op}.forward" in kernels()} <= integers


def test_the_host_names_no_kernel() -> None:
    for name, tree in files():
        if name.startswith("host"):
            words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
            assert not words & set(kernels()), name
