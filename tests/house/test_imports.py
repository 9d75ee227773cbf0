"""Who may import whom: gen neither host nor examples, host no example; no folder under its bare name."""

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
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


# ---- rooms: folders, and files that lie in none ---------------------------------------------------------


def module(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rooms() -> tuple[set[str], set[tuple[str, str]]]:
    """The rooms of gen and host, and which of them imports which, imports of types and within functions too.

    A file that lies directly in gen or host is a room of its own.
    """
    files = {module(p): p for p in SOURCES if p.relative_to(REPO).parts[0] in ("gen", "host")}

    def room(name: str) -> str:
        parts = name.split(".")
        return name if len(parts) < 3 else ".".join(parts[:2])

    arrows = set()
    for name, path in files.items():
        for target in imported(path):
            inside = target.removeprefix("synapcc.")
            if inside in files and room(inside) != room(name) and inside not in ("gen", "host"):
                arrows.add((room(name), room(inside)))
    found = {room(n) for n in files} - {"gen", "host"}
    return found, {(a, b) for a, b in arrows if a in found}


def floors(found: set[str], arrows: set[tuple[str, str]]) -> dict[str, int]:
    """How high each room lies: above all that it imports. Rooms in a circle, or above one, have no floor."""
    height: dict[str, int] = {}
    while True:
        ready = [
            r for r in found if r not in height and all(b in height for a, b in arrows if a == r and b != r)
        ]
        if not ready:
            return height
        height |= {r: 1 + max((height[b] for a, b in arrows if a == r), default=0) for r in ready}


def test_no_room_imports_in_a_circle() -> None:
    found, arrows = rooms()
    height = floors(found, arrows)
    assert not found - height.keys(), f"in a circle, or above one: {sorted(found - height.keys())}"
    assert all(height[a] > height[b] for a, b in arrows), "an import runs back up"


def test_the_house_stays_small_enough_to_know() -> None:
    """Rooms and arrows as docs/DESIGN.md counts them: a new room or arrow is a decision, told there."""
    found, arrows = rooms()
    text = (REPO / "docs" / "DESIGN.md").read_text(encoding="utf-8")
    for folder in ("gen", "host"):
        inside = [r for r in found if r.startswith(folder)]
        between = [a for a in arrows if a[0].startswith(folder) and a[1].startswith(folder)]
        assert f"`{folder}` has {len(inside)} rooms and {len(between)} arrows between them" in text
