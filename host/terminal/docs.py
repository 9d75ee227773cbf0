"""The documentation that comes with the package: one Markdown file a page."""

from __future__ import annotations

from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.gen.words import nearest

FOLDER = Path(__file__).resolve().parents[2] / "docs"


def pages() -> dict[str, str]:
    """The title of each page by its name, which is its file's: RULES is RULES.md."""
    return {path.stem: _title(path) for path in sorted(FOLDER.glob("*.md"))}


def page(name: str) -> Path:
    """The file of a page, whatever the case of its name. Raises SynapccError: there is none."""
    known = {stem.upper(): stem for stem in pages()}
    wanted = name.upper().removeprefix("DOCS/").removesuffix(".MD")
    if wanted not in known:
        hint = f"{nearest(wanted, list(known))}there are: {', '.join(known.values()) or 'none'}"
        raise SynapccError(name, "there is no such page", hint)
    return FOLDER / f"{known[wanted]}.md"


def _title(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("# ")), path.stem)
