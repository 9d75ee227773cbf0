"""Charts: to scale, named for those who cannot see them, and in colours that are not taken for each other."""

import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray

from synapcc.gen.emit.templates import ROOT
from synapcc.host.pages import arena, charts
from synapcc.host.pages.arena import Block
from synapcc.host.pages.charts import Lane, Line, Mark, Reference, Row

pytestmark = pytest.mark.anywhere

UNIT = charts.Axis(0, 1, (0, 0.5, 1), "s")
KINDS = ("bar", "track", "link", "dot", "ring", "stroke")
PIECES = {
    "chart": charts.chart(
        [Line("a<b", "c1", [(0, 0.25), (1, 1.0)], dots=True), Line("c", "c2", [(0, 0.5)])],
        [Lane("N", "N", [0.5, 0.7], [True, False])],
        UNIT,
        charts.shares(0.25),
        references=[Reference("theirs & ours", 0.5)],
    ),
    "empty chart": charts.chart([Line("a", "N", [])], [Lane("N", "N", [], [])], UNIT, charts.shares(0)),
    "rows": charts.rows(
        [Row("x<y", [Mark(k, "c1", 0.25, 0.75) for k in KINDS], "1 & 2")], UNIT, "title", {"c1": "what"}
    ),
    "dots": charts.dots({"c1": "one", "c2": "two"}),
    "map": arena.memory_map(
        [Block("t<u", "arena", 0.5, 2, 0, 64, "t: bytes 0 to 63"), Block("v", "teach", 0, 1, 64, 65, "v")],
        ["forward", "forward", "correct"], 128, "arena", {"arena": "activations"}, "all of it",
    ),
    "wave": charts.wave([0.0, 1.0, -1.0], 2.0, "V"),
}  # fmt: skip


@pytest.mark.parametrize("name", PIECES)
def test_pieces_are_well_formed_self_contained_and_told(name: str) -> None:
    root = ET.fromstring(f"<div>{PIECES[name]}</div>")
    assert not re.search(r"https?:|url\(|src=|href=", PIECES[name])
    for drawing in root.iter("svg"):
        if drawing.get("role") == "img":
            assert (drawing.findtext("title") or "").strip()


def test_words_are_escaped() -> None:
    for name, word in (
        ("chart", "a&lt;b"),
        ("chart", "theirs &amp; ours"),
        ("rows", "x&lt;y"),
        ("map", "t&lt;u"),
    ):
        assert word in PIECES[name]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 100, (0, 20, 40, 60, 80, 100)),
        (0, 7, (0, 2, 4, 6, 8)),
        (0, 0, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0.83, 1, (0.8, 0.85, 0.9, 0.95, 1)),
        (-3, 4, (-4, -2, 0, 2, 4)),
        (0, 90000, (0, 20000, 40000, 60000, 80000, 100000)),
    ],
)
def test_ticks_are_round_and_hold_the_range(low: float, high: float, ticks: tuple[float, ...]) -> None:
    found = charts.axis(low, high)
    assert found.ticks == ticks and found.low == ticks[0] and found.high == ticks[-1]
    exact = charts.axis(low, high, exact=True)
    assert all(exact.low <= t <= exact.high for t in exact.ticks) and exact.low == low


def test_many_ranges_have_few_ticks_that_lie_apart() -> None:
    rng = np.random.default_rng(1)
    for low, size in zip(rng.normal(0, 100, 300), 10.0 ** rng.uniform(-6, 9, 300), strict=True):
        found = charts.axis(float(low), float(low + size))
        steps = np.diff(np.array(found.ticks, float))
        assert 3 <= len(found.ticks) <= 9 and np.allclose(steps, steps[0], rtol=1e-3)
        assert found.low <= low and found.high >= low + size * (1 - 1e-9)


def test_a_chart_keeps_its_scale() -> None:
    """Half of the scale is half of the height, and a curve in the upper part fills the picture."""
    height, width = charts.HEIGHT, charts.WIDTH
    whole = charts.chart([Line("a", "N", [(0, 0.0), (1, 0.5)])], [], UNIT, charts.shares(0.0))
    assert f"M0.0 {height:.1f}L{width:.1f} {height / 2:.1f}" in whole
    upper = charts.chart([Line("a", "N", [(0, 0.8), (1, 0.9)])], [], UNIT, charts.shares(0.8))
    assert f"M0.0 {height:.1f}L{width:.1f} {height / 2:.1f}" in upper
    assert "80\u00a0%" in upper and ">0\u00a0%</span>" in whole
    assert f'class="ref s-ink" d="M0 {height / 2:.1f}H{width}"' in PIECES["chart"]


def test_wrong_beats_stand_out() -> None:
    assert re.search(r's-N" d="M700.0 9V20"', PIECES["chart"])
    assert re.search(r's-wrong" d="M500.0 2V20"', PIECES["chart"])


def test_marks_stand_where_their_values_are() -> None:
    for kind, places in (
        ("bar", {"x": "25%", "width": "50%"}),
        ("link", {"x1": "25%", "x2": "75%"}),
        ("dot", {"cx": "25%"}),
        ("stroke", {"x1": "25%", "x2": "25%"}),
    ):
        drawn = ET.fromstring(charts.rows([Row("a", [Mark(kind, "c1", 0.25, 0.75)], "v")], UNIT))
        mark = next(e for e in drawn.iter() if e.get("class", "").endswith("-c1"))
        assert {k: mark.get(k) for k in places} == places
    beyond = charts.rows([Row("a", [Mark("bar", "c1", -5, 9)], "v")], UNIT)
    assert 'x="0%" width="100%"' in beyond


def test_stacked_bars_follow_each_other() -> None:
    assert charts.stacked([("c1", 2), ("c2", 0), ("c3", 3)]) == [
        Mark("bar", "c1", 0.0, 2.0),
        Mark("bar", "c3", 2.0, 5.0),
    ]


def test_curves_do_not_differ_by_colour_alone() -> None:
    lines = [Line(str(i), charts.SERIES[i], [(0, 0.1 * i), (1, 1.0)]) for i in range(4)]
    drawn = charts.chart(lines, [], UNIT, charts.shares(0))
    assert {f"dash{i}" for i in range(4)} <= set(re.findall(r"dash\d", drawn))


def test_a_memory_map_is_to_scale_and_names_what_has_room() -> None:
    drawn = ET.fromstring(PIECES["map"])
    boxes = list(drawn.iter("rect"))
    first = {k: float((boxes[0].get(k) or "").rstrip("%")) for k in ("x", "y", "width", "height")}
    assert first == pytest.approx({"x": 100 / 6, "y": 50, "width": 50, "height": 50}, abs=0.01)
    assert boxes[0].findtext("title") == "t: bytes 0 to 63"
    names = [d for d in drawn.iter("div") if d.get("class") == "blockname"]
    assert ["".join(n.itertext()) for n in names] == ["t<u"]
    band = next(d for d in drawn.iter("div") if d.get("class") == "band")
    assert [(s.text, s.get("style")) for s in band] == [("forward", "flex:2 1 0"), ("correct", "flex:1 1 0")]


def test_numbers_are_short() -> None:
    assert [charts.plain(v) for v in (0, 1234567, 0.25, 12.3456)] == ["0", "1,234,567", "0.25", "12.35"]
    assert charts.percent(0.0123) == "1.23\u00a0%"
    shares = [charts.share(v, 2000).replace("\u00a0", " ") for v in (0, 1, 2, 2000)]
    assert shares == ["0.0 %", "<0.1 %", "0.1 %", "100.0 %"] and charts.share(1, 0) == "0.0\u00a0%"


# ---- colours ------------------------------------------------------------------------------------------

# Machado GM, Oliveira MM, Fernandes LA, IEEE Trans Vis Comput Graph 15(6):1291-1298, 2009, severity 1.
SIGHT = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}
SETS = {
    "memory": ("weight", "feedback", "store", "arena", "teach", "small", "link", "stack"),
    "curves": charts.SERIES,
}
APART = 12.0  # of CIE 1976 units; 2.3 is just noticeable


def palettes() -> list[dict[str, str]]:
    """The colours by name, for light and for dark."""
    text = (ROOT / "templates" / "report" / "style.css.j2").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", text, re.S)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", b)) for b in blocks]


def lab(colour: str, sight: NDArray[np.float64]) -> NDArray[np.float64]:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(sight @ linear, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("names", SETS.values(), ids=SETS)
def test_colours_stay_apart(sight: str, names: tuple[str, ...]) -> None:
    light, dark = palettes()
    assert light.keys() == dark.keys()
    for palette in (light, dark):
        seen = {n: lab(palette[n], SIGHT[sight]) for n in names}
        for a, b in itertools.combinations(names, 2):
            assert np.linalg.norm(seen[a] - seen[b]) >= APART, (a, b)


def test_words_can_be_read() -> None:
    """Contrast of at least 4.5 (WCAG 2.1 AA) between words and what is behind them."""
    for palette in palettes():
        for word, behind in itertools.product(("ink", "soft", "good", "bad"), ("paper", "sheet")):
            light, dark = sorted((luminance(palette[word]), luminance(palette[behind])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (word, behind)


def luminance(colour: str) -> float:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear)
