"""The pieces of report pages: sound markup, nothing from elsewhere, and files written whole or not at all."""

import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from markupsafe import Markup
from pages import sound

from synapcc.gen.errors import SynapccError
from synapcc.host.pages import html
from synapcc.host.pages.html import Part
from synapcc.host.terminal import files

PIECES = {
    "table": html.table(["a", "b"], [["x<y", 1], [Markup("<b>z</b>"), 2]]),
    "headless": html.table(["", ""], [["a", 1]], wrap=True),
    "confusion": html.confusion([[3, 0], [1, 2]], "NV", "before & after"),
    "strip": html.strip(
        [Part("code", "code", 900), Part("x", "N", 99), Part("y", "S", 1)], "RAM", {"N": "n"}
    ),
    "parts": html.part_table([Part("a", "N", 3, "note"), Part("b", "S", 1)]),
    "fold": html.fold("more & more", html.keyed("N", "<x>")),
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces_are_well_formed_and_self_contained(name: str) -> None:
    ET.fromstring(f"<div>{PIECES[name]}</div>")
    assert not re.search(r"https?:|url\(|src=|href=", PIECES[name])


def test_text_is_escaped_and_markup_is_not() -> None:
    assert "x&lt;y" in PIECES["table"] and "<b>z</b>" in PIECES["table"]
    assert html.element("p", {"title": '"<'}, "&") == Markup('<p title="&#34;&lt;">&amp;</p>')
    assert html.element("br") == Markup("<br/>")


def test_tables_scroll_and_have_a_head_where_there_is_one() -> None:
    assert all(PIECES[n].startswith('<div class="scroll"') for n in ("table", "headless", "parts"))
    assert "<thead>" in PIECES["table"] and "<thead>" not in PIECES["headless"]


LONG = "block3_depthwise_conv2d_weight"


def test_long_names_break_where_they_are_joined_and_nothing_else_breaks() -> None:
    parts = {
        LONG: ["block3_", "depthwise_", "conv2d_", "weight"],
        f"lib/net/src/{LONG}.c": ["lib/", "net/", "src/", *re.findall("[a-z0-9]+_", LONG), "weight.", "c"],
        "0123456789abcdef" * 4: ["01234567", "89abcdef"] * 4,
        "fc1_weight dense.update mps2_an386": ["fc1_weight dense.update mps2_an386"],
        "1,234,567.890123456789012": ["1,234,567.890123456789012"],
        "3.14159265358979323846 and 12/34567890123456789012345": None,
        "x" * 90: ["x" * 90],
    }
    for text, wanted in parts.items():
        assert html.breakable(text).split("<wbr/>") == (wanted or [text]), text
        assert html.breakable(text).replace("<wbr/>", "") == text
    assert html.breakable(f"<{LONG}&").startswith("&lt;block3_<wbr/>")
    assert html.breakable(Markup(f"<b>{LONG}</b>")) == f"<b>{LONG}</b>"


def test_what_scrolls_has_a_name_and_takes_the_keyboard() -> None:
    for name in ("table", "headless", "confusion", "parts"):
        found = ET.fromstring(f"<div>{PIECES[name]}</div>").findall(".//*[@class='scroll']")
        assert found and all(e.get("tabindex") == "0" and e.get("aria-label") for e in found)


def test_a_strip_is_to_scale_and_joins_what_cannot_be_seen() -> None:
    assert [int(n) for n in re.findall(r"flex:(\d+) 1 0", PIECES["strip"])] == [900, 99, 1]
    assert "1 small ones" in PIECES["strip"] and "code</span>" in PIECES["strip"]
    assert "legend" in PIECES["strip"]
    assert "75.0 %" in PIECES["parts"]


def test_an_example_has_templates_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "har.html.j2").write_text(
        '{% extends "base.html.j2" %}{% block title %}HAR{% endblock %}'
        "{% block body %}<h1>{{ who }}</h1>{{ table }}{% endblock %}"
    )
    text = html.render("har.html.j2", {"who": "a < b", "table": PIECES["table"]}, tmp_path)
    assert "<h1>a &lt; b</h1>" in text and "HAR" in text and sound(text).cells


def test_write_makes_the_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.html"
    files.check_new(target)
    assert not target.parent.exists()
    html.write(target, "one")
    html.write(target, "two ✓")
    assert target.read_text(encoding="utf-8") == "two ✓"
    assert os.listdir(target.parent) == ["b.html"]
    assert target.stat().st_mode & 0o444 == 0o444


def test_bad_targets(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SynapccError, match="is a folder"):
        files.check_new(tmp_path)
    with pytest.raises(SynapccError, match="there is no folder"):
        files.check_new(tmp_path / "file" / "x.html")
    with pytest.raises(SynapccError, match="cannot be written"):
        html.write(tmp_path / "file" / "x.html", "")


def test_of_many_classes_the_mistakes_made_most_are_shown() -> None:
    classes = [f"c{i}" for i in range(html.MOST_CLASSES + 1)]
    matrix = [[0] * len(classes) for _ in classes]
    for i in range(30):
        matrix[i][i + 1] = i + 1
    matrix[0][0] = 999
    said = str(html.confusion(matrix, classes, "after"))
    assert f"the {html.MISTAKES} most frequent of 30 mistakes among {len(classes)} classes" in said
    assert said.index(">30<") < said.index(">29<") and ">11<" in said and ">10<" not in said
    assert ">999<" not in said and len(said) < 5000
