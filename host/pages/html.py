"""Pieces of a report: one HTML file that needs nothing else, light and dark, on a phone and on a desk.

Every piece is Markup; colours are classes that templates/report/base.html.j2 defines for both schemes.
What is drawn stands in host/pages/charts.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from synapcc.gen.emit.templates import ROOT
from synapcc.gen.errors import SynapccError
from synapcc.gen.version import VERSION

from ..terminal import files
from ..terminal.screen import neutral
from .bytecode import Kept

_NAMED, _DRAWN = 0.06, 0.006
"""Shares of a strip from which on a piece has its name in it, and is drawn by itself."""

_LONG = re.compile(r"\S{21,}")  # what may not fit a narrow column
_DIGEST = re.compile(r"\b[0-9a-f]{32,}\b")
_JOINTS = re.compile(r"(?<=[A-Za-z0-9]_|[A-Za-z][./])(?=[A-Za-z0-9])")
Number = float | int


@dataclass(frozen=True)
class Part:
    """A piece of a memory region; `tone` "free" is empty memory."""

    label: str
    tone: str
    bytes: int
    note: str = ""


def element(name: str, attributes: Mapping[str, object] | None = None, *children: object) -> Markup:
    """`<name attributes>children</name>`; text is escaped, Markup is not, and without children it closes."""
    given = "".join(f' {k}="{escape(v)}"' for k, v in (attributes or {}).items() if v is not None)
    if not children:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>") + Markup("").join(map(escape, children)) + Markup(f"</{name}>")


def breakable(text: object) -> Markup:
    """Text whose long words may break where their parts are joined, and digests between groups of digits.

    Markup is not touched. A short word, one without joints and a number are never broken.
    """
    if isinstance(text, Markup):
        return text
    parts = _LONG.sub(lambda word: _JOINTS.sub("\0", _DIGEST.sub(_grouped, word[0])), str(text))
    return element("wbr").join(parts.split("\0"))


def _grouped(digits: re.Match[str]) -> str:
    return "\0".join(re.findall(".{1,8}", digits[0]))


def div(kind: str, *children: object, **attributes: object) -> Markup:
    return element("div", {"class": kind, **attributes}, *(children or ("",)))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1, wrap: bool = False) -> Markup:
    """A table that scrolls sideways where it is too wide; the first `left` columns hold words.

    wrap: its cells take several lines instead, as far as their words allow.
    """

    def cells(kind: str, row: Sequence[object]) -> Markup:
        return element(
            "tr",
            None,
            *(
                element(kind, {"class": None if i < left else "n"}, breakable(c) if wrap else c)
                for i, c in enumerate(row)
            ),
        )

    top = element("thead", None, cells("th", head)) if any(head) else ""
    body = element("tbody", None, *(cells("td", r) for r in rows))
    return scroll(element("table", {"class": "wrap" if wrap else None}, top, body), "table")


def scroll(content: Markup, name: str) -> Markup:
    """What scrolls sideways where it is too wide: shadows say so, and the keyboard reaches it."""
    return div("scroll", content, tabindex="0", role="group", **{"aria-label": name})


MOST_CLASSES = 40
"""Of a confusion matrix that is drawn whole."""
MISTAKES = 20


def _mistakes(matrix: Sequence[Sequence[int]], labels: Sequence[str], title: str) -> Markup:
    wrong = [
        (-count, i, j)
        for i, counts in enumerate(matrix)
        for j, count in enumerate(counts)
        if count and i != j
    ]
    made = [
        element(
            "tr",
            None,
            element("th", None, labels[i]),
            *(element("td", {"class": "n"}, v) for v in (labels[j], -n)),
        )
        for n, i, j in sorted(wrong)[:MISTAKES]
    ]
    words = ("annotated", "the chip said", "samples")
    head = element(
        "tr", None, *(element("th", {"class": "n"} if k else None, w) for k, w in enumerate(words))
    )
    body = element(
        "table", {"class": "mistakes"}, element("thead", None, head), element("tbody", None, *made)
    )
    told = f"{title}: the {len(made)} most frequent of {len(wrong)} mistakes among {len(labels)} classes"
    return div("matrix", element("h4", None, told), scroll(body, title))


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], title: str) -> Markup:
    """Rows: annotated; columns: what the chip said. Shaded by the share of the row. Of more classes than a
    table can show, the mistakes that were made most."""
    if len(labels) > MOST_CLASSES:
        return _mistakes(matrix, labels, title)
    head = element("tr", None, element("th", None, ""), *(element("th", {"class": "n"}, c) for c in labels))
    rows = []
    for i, (label, counts) in enumerate(zip(labels, matrix, strict=True)):
        cells = []
        for j, count in enumerate(counts):
            share = round(100 * count / max(sum(counts), 1))
            kind = "n zero" if not count else "n good" if i == j else "n bad"
            style = f"--s:{share}%" if count else None
            cells.append(element("td", {"class": kind, "style": style}, count))
        rows.append(element("tr", None, element("th", None, label), *cells))
    body = element(
        "table", {"class": "confusion"}, element("thead", None, head), element("tbody", None, *rows)
    )
    return div("matrix", element("h4", None, title), scroll(body, title))


def swatch(tone: str) -> Markup:
    return element("i", {"class": f"swatch f-{tone}"}, "")


def keyed(tone: str, text: object) -> Markup:
    """A word behind the colour that stands for it."""
    return element("span", {"class": "key"}, swatch(tone), text)


def fold(summary: str, body: Markup) -> Markup:
    """Something to be opened."""
    return element("details", None, element("summary", None, summary), body)


def legend(keys: Iterable[tuple[object, object]]) -> Markup:
    """What marks mean: (mark, meaning) each."""
    return div("legend", *(element("span", {"class": "key"}, mark, text) for mark, text in keys))


def strip(parts: Sequence[Part], title: str, kinds: Mapping[str, str] | None = None) -> Markup:
    """Memory to scale: one bar whose pieces are as wide as they are large, named where there is room.

    Pieces too small to see are drawn as one. `kinds`: what a colour means, by tone, for a legend.
    """
    total = max(sum(p.bytes for p in parts), 1)
    drawn = [p for p in parts if p.bytes >= _DRAWN * total]
    tiny = [p for p in parts if p not in drawn]
    drawn += [Part(f"{len(tiny)} small ones", "small", sum(p.bytes for p in tiny))] if tiny else []
    pieces = [
        div(
            f"piece f-{p.tone}",
            element("span", None, p.label) if p.bytes >= _NAMED * total else "",
            style=f"flex:{p.bytes} 1 0",
            title=f"{p.label}: {p.bytes:,} bytes, {100 * p.bytes / total:.1f} %",
        )
        for p in drawn
    ]
    tones = {p.tone for p in drawn}
    keys = [(swatch(t), k) for t, k in (kinds or {}).items() if t in tones]
    return div("memory", element("h4", None, title), div("strip", *pieces), legend(keys) if keys else "")


def part_table(parts: Sequence[Part]) -> Markup:
    """What a strip shows, with every name and size."""
    total = max(sum(p.bytes for p in parts), 1)
    rows = []
    for p in parts:
        rows.append((keyed(p.tone, p.label), p.note, f"{p.bytes:,}", f"{100 * p.bytes / total:.1f} %"))
    return table(["part", "what it is", "bytes", "share"], rows, left=2)


@cache
def _environment(folder: Path | None) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*([folder] if folder else []), ROOT / "templates" / "report"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
        bytecode_cache=Kept(__file__),
    )
    environment.filters["breakable"] = breakable
    return environment


def render(template: str, context: Mapping[str, Any], folder: Path | None = None) -> str:
    """A page from templates/report; values that are not Markup are escaped, and what nobody sees (characters
    that turn the direction of writing, say) stands there as text.

    folder: where an example keeps templates of its own, which extend base.html.j2 as ours do
    """
    return neutral(_environment(folder).get_template(template).render(version=VERSION, **context))


def write(path: Path, text: str) -> None:
    """Writes `text` whole or not at all, and makes the folder for it. Raises SynapccError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise SynapccError(str(path), what, "check the folder and its permissions") from None
    files.write_whole(path, text.encode())
