"""What every report page must be: sound markup, all of its own, told in words too, for a phone too."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = ("meta", "br", "wbr", "link", "img", "input", "hr")


class Page(HTMLParser):
    """Reads a page strictly: AssertionError where elements do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[tuple[str, str]] = []
        self.loose_tables = 0
        self.untold: list[str] = []
        self.words: list[str] = []
        self.cells: list[list[str]] = []
        self.rule = ""
        self._untitled: list[str] = []
        self._in_rule = self._joined = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        self.links += [v for k, v in given.items() if k in ("src", "href")]
        self.ids += [given["id"]] if "id" in given else []
        self._in_rule = given.get("id") == "rule"
        if tag == "table" and not any("scroll" in kind.split() for _, kind in self.open):
            self.loose_tables += 1
        if "scroll" in given.get("class", "").split():
            assert given.get("tabindex") == "0" and given.get("aria-label"), given
        inside = any(t == "svg" for t, _ in self.open)
        if tag == "svg" and not inside and given.get("aria-hidden") != "true":
            self._untitled.append(given.get("class", ""))
            assert given.get("role") == "img", given
        if tag == "title":
            self._untitled.clear()
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag not in VOID:
            self.open.append((tag, given.get("class", "")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag
        self._in_rule = False
        if tag == "svg" and not any(t == "svg" for t, _ in self.open):
            self.untold += self._untitled
            self._untitled.clear()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._joined = tag == "wbr"

    def handle_data(self, data: str) -> None:
        if self._in_rule:
            self.rule += data
        if not any(t in ("style", "title", "desc") for t, _ in self.open):
            before = self.words.pop() if self._joined else ""
            self.words.append(before + data)
            self._joined = False
            if any(t in ("td", "th") for t, _ in self.open):
                self.cells[-1][-1] += data.replace("\u00a0", " ")

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def sound(text: str) -> Page:
    """The page, read; AssertionError if it is not what a page must be."""
    page = Page(text)
    assert not page.open and text.startswith("<!DOCTYPE html>")
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"<script|<link|<iframe|<object|url\(|@import|javascript:| on\w+=", text)
    assert "prefers-color-scheme" in text and "@media print" in text and "width=device-width" in text
    assert not re.search(r"break-all|overflow-wrap: anywhere|text-overflow|hyphens", text)
    assert page.loose_tables == 0 and page.untold == []
    assert len(page.ids) == len(set(page.ids)) and text.count("<h1>") == 1 and "<title></title>" not in text
    return page
