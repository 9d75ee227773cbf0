"""Who may import whom: gen neither host nor examples, host no example; no folder under its bare name."""

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
FOLDERS = ("gen", "host", "examples", "tests")
SOURCES = [p for f in FOLDERS for p in sorted((REPO / f).rglob("*.py")) if "_ns" not in p.parts]


def imported(path: Path) -> list[str]:
    """Absolute module names that a file imports, relative ones resolved as inside package synapcc."""
    package = ["synapcc", *path.relative_to(REPO).parent.parts]
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [module, *(f"{module}.{a.name}" for a in node.names)]
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPO)))
def test_imports(path: Path) -> None:
    names = imported(path)
    bare = [
        n for n in names if n.split(".")[0] in ("gen", "host", "examples", "templates", "firmware", "boards")
    ]
    assert not bare, f"import synapcc.{bare[0]}, not {bare[0]}"
    room = path.relative_to(REPO).parts[0]
    if room == "gen":
        assert not [n for n in names if n.startswith(("synapcc.host", "synapcc.examples"))], (
            "gen must not know host"
        )
    if room == "host":
        assert not [n for n in names if n.startswith("synapcc.examples")], "examples are found, not named"


def test_host_names_the_examples_in_one_place() -> None:
    """A module that is imported by a string is named by one."""
    for path in SOURCES:
        if path.relative_to(REPO).parts[0] not in ("gen", "host"):
            continue
        constants = [n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
        named = [c for c in constants if isinstance(c, str) and c.startswith("synapcc.examples")]
        assert named == (["synapcc.examples"] if path == REPO / "host" / "examples.py" else []), path


def test_gen_opens_no_process_and_no_port() -> None:
    banned = {"subprocess", "socket", "serial", "multiprocessing", "asyncio"}
    for path in SOURCES:
        if path.relative_to(REPO).parts[0] == "gen":
            assert not banned & {n.split(".")[0] for n in imported(path)}, path
