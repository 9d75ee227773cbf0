"""The documentation as a site: built without a warning, whole, and from nowhere else when it is read."""

from __future__ import annotations

import html
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import synapcc.gen
import synapcc.host

REPO = Path(__file__).resolve().parents[2]
DOCS = REPO / "docs"
FROM = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=[\"']?([^\"' >]+)")
AFAR = re.compile(r"^(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed: pip install 'synapcc[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "--quiet", "build", "--strict", "-d", str(out)]
    environment = {"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr + done.stdout, done.stdout + done.stderr
    return out


def pages(site: Path) -> dict[str, str]:
    return {p.relative_to(site).as_posix(): p.read_text(encoding="utf-8") for p in site.rglob("*.html")}


def test_every_page_is_there_and_reached_from_the_navigation(site: Path) -> None:
    found = pages(site)
    for path in DOCS.glob("*.md"):
        name = "index.html" if path.stem == "README" else f"{path.stem}.html"
        assert name in found and f'href="{name}"' in found["START.html"].replace("./", ""), name


def test_nothing_comes_from_elsewhere_when_it_is_read(site: Path) -> None:
    for name, text in pages(site).items():
        sources = FROM.findall(text)
        assert sources, name
        for source in sources:
            assert not AFAR.match(source), (name, source)
            there = (site / name).parent / source.split("?")[0].split("#")[0]
            assert name == "404.html" or there.exists(), (name, source)
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", style.read_text()), style
    assert (site / "search" / "search_index.js").is_file()  # what a page from file:// may read


def test_every_public_name_has_its_docstring_on_the_page(site: Path) -> None:
    told = (DOCS / "API.md").read_text(encoding="utf-8")
    page = " ".join(html.unescape(re.sub(r"<[^>]+>", "", pages(site)["API.html"])).split())
    for module in (synapcc.gen, synapcc.host):
        for name in module.__all__:
            assert re.search(rf"^::: synapcc\.(?:gen|host)\.{name}$", told, re.M), name
            first = (inspect.getdoc(getattr(module, name)) or "").split("\n")[0]
            words = re.findall(r"\w+", first)
            assert words and " ".join(words[:4]) in " ".join(re.findall(r"\w+", page)), name


def test_text_is_text_and_lists_are_lists(site: Path) -> None:
    """What GitHub takes for a list, a table or a block may be none to the site."""
    for name, text in pages(site).items():
        body = text.split("<article", 1)[-1].split("</article", 1)[0]
        body = re.sub(r"<(pre|code|script|style|svg)\b.*?</\1>", "", body, flags=re.S)
        assert not re.search(r"^\s*(?:\* |\|.*\|$|```)", body, re.M), name
        assert not re.search(r"<(?:model|name|layer|node)\b", body, re.I), name


def test_a_page_that_is_named_is_a_link() -> None:
    """Which a reader follows on the site, where there is no folder docs/, and where the repository lies."""
    prose = re.compile(r"^```.*?^```$|^    .*?$|`[^`\n]*`|\]\([^)]*\)", re.M | re.S)
    for path in DOCS.glob("*.md"):
        named = re.findall(r"\bdocs/[A-Z_]+\.md", prose.sub("", path.read_text(encoding="utf-8")))
        assert not named, f"{path.name}: {named[0]} is text; write [{named[0][5:]}]({named[0][5:]})"
