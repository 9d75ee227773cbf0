"""What the site needs beside docs/: pages of examples/ that docs/ links to, under a path of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

REPO = Path(__file__).resolve().parents[3]
PAGES = ("examples/ecg/BASES.md", "examples/images/MODELS.md")


def on_files(files: Any, config: Any) -> Any:
    for page in PAGES:
        text = (REPO / page).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text.replace("](../../docs/", "](../../")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A link of docs/ to a page of examples/ leaves docs/; here both lie in one folder."""
    return re.sub(r"\]\(\.\./(?=examples/)", "](", markdown)
