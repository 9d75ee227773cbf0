"""Report pages: sound, whole without a network, the same each time, and with the figures of their JSON."""

from __future__ import annotations

import copy
import itertools
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import Page, sound
from projects import case, compiled, refusal, write_rule
from random_nets import ANY, accepted, random_parts

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.frontends import block_options
from synapcc.gen.ir.plan import Plan
from synapcc.gen.rules import options
from synapcc.gen.spec import RuleSpec, load_spec
from synapcc.gen.target.boards import load_board
from synapcc.host.cli import main
from synapcc.host.link.client import Stats
from synapcc.host.pages import bench as bench_page
from synapcc.host.pages import compile as compile_page
from synapcc.host.pages import eval as eval_page
from synapcc.host.pages import learn as learn_page
from synapcc.host.pages import numbers as numbers_of
from synapcc.host.pages import verify as verify_page
from synapcc.host.pages import ways as ways_of
from synapcc.host.pages.facts import measure
from synapcc.host.run.culprit import USUAL
from synapcc.host.run.locate import Difference
from synapcc.host.run.verify import Verdict

Report = dict[str, Any]
REPO = Path(__file__).resolve().parents[3]
Capsys = pytest.CaptureFixture[str]
HOSTILE = '<script>alert("1")</script>&amp;'
MORE = "[store]\nsamples = 8\n[replay]\nsamples = 6\nevery = 2\n"
MODELS = 12


def numbers(page: Page) -> set[str]:
    return set(re.findall(r"\d[\d,.]*\d|\d", page.text))


def spoilt(value: Any, name: str) -> Any:
    """The same JSON with `name` replaced wherever it is a word of its own."""
    if isinstance(value, dict):
        return {spoilt(k, name): spoilt(v, name) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [spoilt(v, name) for v in value]
    return HOSTILE if value == name else value


def harmless(text: str) -> None:
    sound(text)
    assert "<script" not in text and "&lt;script&gt;" in text and "&amp;amp;" in text


# ---- compile ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    c = case(tmp_path_factory.mktemp("reports"), more=MORE)
    return compile_model(c.model, c.rule, c.data, "mps2_an386")


@pytest.fixture(scope="module")
def report(model: Compiled) -> Report:
    loaded: Report = json.loads(json.dumps(measure(model), sort_keys=True))
    return loaded


def test_compile_writes_the_page_of_its_json(tmp_path: Path) -> None:
    _, out = compiled(tmp_path, more=MORE)
    text = (out / "report.html").read_text(encoding="utf-8")
    assert text == compile_page.compile_html(json.loads((out / "report.json").read_text()))
    assert str(tmp_path) not in text
    sound(text)


ODD = ('a "b" \\ <c>&amp; [d] = #', "é.\t\x7f\x00\r\n😀", "", "'''", "\nfirst")
"""Names that TOML and HTML both have to quote."""


def copied(page: Page, path: Path) -> RuleSpec:
    """The rule file on a page, as a reader would copy it."""
    path.write_text(page.rule, encoding="utf-8")
    return load_spec(path, options(), block_options())


@pytest.mark.parametrize(
    "path",
    sorted(
        p for p in (REPO / "examples").rglob("*.toml") if "sweep" not in p.stem and p.parent.name != "fronts"
    ),
    ids=lambda p: "-".join(p.parts[-2:]),
)
def test_the_rule_file_on_a_page_says_what_the_example_says(
    path: Path, report: Report, tmp_path: Path
) -> None:
    spec = load_spec(path, options(), block_options())
    for said in (spec, replace(spec, layers=ODD, untied=ODD, rates=tuple((n, 3) for n in sorted(ODD)))):
        page = sound(compile_page.compile_html(report | {"rule": said.to_dict()}))
        assert copied(page, tmp_path / "copied.toml") == said


def test_the_rule_file_on_a_page_compiles_to_the_same_plan(tmp_path: Path) -> None:
    for first, seed in accepted(ANY, MODELS):
        path = tmp_path / f"{seed}.toml"
        page = sound(compile_page.compile_html(json.loads(json.dumps(measure(first)))))
        assert copied(page, path) == first.spec
        graph, _, data, mode = random_parts(seed)
        assert compile_model(graph, path, data, quantise=mode).plan.digest == first.plan.digest, seed


def test_compile_pages_say_what_the_json_says(report: Report) -> None:
    page = sound(compile_page.compile_html(report))
    budget = report["budget"]
    assert f"{budget['flash']['needs']:,} of {budget['flash']['size']:,} bytes of flash" in page.text
    assert f"{budget['ram']['needs']:,} of {budget['ram']['size']:,} bytes of RAM" in page.text
    assert report["digest"] in page.text and report["model"] in page.text
    for t in report["tensors"]:
        row = next(r for r in page.cells if r[0] == t["tensor"] and len(r) == 8)
        assert row[5] == f"{t['bytes']:,}" and row[4] == t["q"]
    for line in report["timeline"]:
        for i, s in enumerate(line["steps"], 1):
            macs = f"{s['macs']:,}" if s["macs"] else ""
            head = [str(i), s["program"], s["node"], s["kernel"]]
            assert any(r[:4] == head and r[5:] == [macs, f"{s['bytes']:,}"] for r in page.cells)
    for p in report["programs"]:
        cells = [f"{p[k]:,}" for k in ("macs", "reads", "writes", "slices")]
        longest = p["longest_slice"]
        said = f"{longest['macs']:,} MACs, {longest['kernel']} of {longest['node']}"
        assert [p["program"], *cells, said] in page.cells
    for x in report["ranges"]:
        assert any(
            r[0] == x["tensor"] and f"{x['seen'][0]:.4g}" in r and f"{x['holds'][1]:.4g}" in r
            for r in page.cells
        )
    for p in report["proofs"]:
        row = next(r for r in page.cells if r[:3] == [p["node"], p["kernel"], p["sum"]])
        assert row[3:5] == [f"{p['lo']:,}", f"{p['hi']:,}"]


def boxes(text: str) -> list[list[tuple[str, float, float, float, float]]]:
    """(told, left, top, right, bottom) in percent of the blocks of each memory map."""
    found = []
    for drawing in re.findall(r'<svg class="plot map".*?</svg>', text, re.S):
        blocks = []
        for r in ET.fromstring(drawing).iter("rect"):
            x, y, w, h = (float((r.get(k) or "").rstrip("%")) for k in ("x", "y", "width", "height"))
            blocks.append((r.findtext("title") or "", x, y, x + w, y + h))
        found.append(blocks)
    return found


def test_blocks_of_a_memory_map_lie_beside_each_other() -> None:
    """As drawn: in every map of many networks no block covers another."""
    drawn = 0
    for c, _ in accepted(ANY, MODELS):
        report = measure(c)
        maps = boxes(compile_page.compile_html(report))
        assert len(maps) == len(c.plan.entries)
        for blocks, line in zip(maps, report["timeline"], strict=True):
            assert len(blocks) == sum(len(a["spans"]) for a in line["arena"])
            drawn += len(blocks)
            for a, b in itertools.combinations(blocks, 2):
                apart = (
                    a[3] <= b[1] + 0.01 or b[3] <= a[1] + 0.01 or a[4] <= b[2] + 0.01 or b[4] <= a[2] + 0.01
                )
                assert apart, (c.plan.model, line["program"], a, b)
    assert drawn > 200


def test_blocks_are_as_high_as_their_bytes(model: Compiled, report: Report) -> None:
    plan: Plan = model.plan
    for blocks in boxes(compile_page.compile_html(report)):
        for told, _, top, _, bottom in blocks:
            t = plan[told.split(":")[0]]
            assert bottom - top == pytest.approx(100 * t.nbytes / plan.arena_bytes, abs=0.01)
            assert 100 - bottom == pytest.approx(100 * t.offset / plan.arena_bytes, abs=0.01)


def test_names_of_the_network_are_escaped_in_a_compile_page(report: Report) -> None:
    for name in ("fc1", "fc1_weight", "input", "net"):
        harmless(compile_page.compile_html(spoilt(report, name)))


def test_networks_without_board_or_learning_have_pages(tmp_path: Path) -> None:
    c = case(tmp_path)
    c.rule.write_text('rule = "none"\n')
    page = sound(compile_page.compile_html(measure(compile_model(c.model, c.rule, c.data))))
    assert "Compiled without a board" in page.text and "inference only" in page.text
    assert "one learning step" not in page.text
    data = {"input": np.zeros((1, 12), np.float32), "label": np.zeros(1, int)}
    sound(compile_page.compile_html(measure(compile_model(c.model, write_rule(c.rule), data))))


def test_what_deserves_a_look_is_pointed_at(report: Report) -> None:
    assert compile_page.warnings(report) == []
    bad = copy.deepcopy(report)
    bad["calibration"]["same_class_as_float"] = 0.975
    bad["ranges"][0]["clipped"] = 0.25
    told = compile_page.warnings(bad)
    assert "97.5\u00a0%" in told[0] and bad["ranges"][0]["tensor"] in told[1] and "25\u00a0%" in told[1]
    page = sound(compile_page.compile_html(bad))
    assert all(" ".join(t.split()) in page.text for t in told)
    bad["ranges"][0]["shares"] = "another"  # a clip cuts it anyway
    assert len(compile_page.warnings(bad)) == 1
    bad["calibration"]["same_class_as_float"] = 0.9  # then the report itself says so, and names a layer
    bad["warnings"] = [f"fc1: loses, {USUAL}"]
    assert compile_page.warnings(bad) == [f"fc1: loses, {USUAL}."]


def test_bits_are_those_of_the_register() -> None:
    assert numbers_of.bits({"lo": -(2**31), "hi": 2**31 - 1}) == 32
    assert numbers_of.bits({"lo": 0, "hi": 0}) == 1


# ---- eval ---------------------------------------------------------------------------------------------

CLASSES = ("N", "S", "V", "F")
PEOPLE = ("100", "201")


def row(rule: str, passes: int, seed: int = 1, hit: int = 90, **more: Any) -> Report:
    """A row as `synapcc eval --json` writes it, its classes sorted by name as JSON sorts them."""
    matrix = [[hit, 100 - hit, 0, 0], [7, 13, 0, 0], [0, 1, 29, 0], [0, 0, 0, 0]]
    f1 = {"F": None, "N": hit / 100, "S": 0.5 + seed / 100, "V": 0.9}
    scores = {"accuracy": hit / 100, "macro_f1": hit / 200, "f1": f1, "sen": f1, "ppr": f1}
    subjects = {n: {"before": 0.5, "after": hit / 100 - i / 10, "f1": f1} for i, n in enumerate(PEOPLE)}
    way = {"model": "mlp", "rule": rule, "weights": "int16", "passes": passes, "replay": False, "seed": seed}
    return {**way, **scores, "average": scores, "confusion": matrix, "subjects": subjects, **more}


def rows() -> list[Report]:
    none = row("none", 0, 0, 60, weights="int8")
    return [
        none,
        row("float_bp", 10, hit=94, weights="float32"),
        row("hebbian", 1, hit=70),
        row("hebbian", 10, 1, 95),
        row("hebbian", 10, 2, 97),
        row("bp", 10, hit=93),
    ]


PUBLISHED = ({"label": "theirs <1999>", "scores": {"accuracy": 0.978, "V": 0.954}},)
WORDS = {
    "command": "synapcc eval pumps",
    "sample": "stroke",
    "samples": "strokes",
    "subject": "pump",
    "subjects": "pumps",
    "taught": "one labelled day of each pump",
    "tested": "strokes of the week after",
    "lesson": "the day",
    "ratios": [{"key": "sen", "short": "Rec", "name": "recall"}, {"key": "f1", "short": "F1", "name": "F1"}],
    "caveats": ["Valves were opened by hand."],
    "warning": "For <engineers>.",
}


def whole(found: list[Report], published: Sequence[Report] = ()) -> Report:
    return {
        "protocol": "A",
        "labels": CLASSES,
        "rows": found,
        "words": WORDS,
        "published": {"about": "All in float.", "results": list(published)},
    }


def result(found: list[Report], published: Sequence[Report] = ()) -> Report:
    loaded: Report = json.loads(json.dumps(whole(found, published), sort_keys=True))
    return loaded


def test_eval_pages_say_what_the_rows_say() -> None:
    page = sound(eval_page.eval_html(result(rows(), PUBLISHED)))
    assert "60.0 % → 96.0 %: 2 pumps, protocol A" in page.text
    assert "hebbian, int16, 10 passes gets 96.0 % of 150 strokes of the week after right" in page.text
    assert "2 of 2 pumps got better, 0 worse" in page.text
    listed = next(r for r in page.cells if r[0] == "hebbian, int16, 10 passes")
    assert listed[1:3] == ["2", "96.00 ±1.41"] and "–" in listed
    assert [
        "100",
        "50.0 %",
        "96.0 %",
        "+46.0",
        "96.00 ±1.41",
        "51.50 ±0.71",
        "90.00 ±0.00",
        "–",
    ] in page.cells
    assert "theirs <1999>: 97.8 %" in page.text and "F1 of class V 95.4 %" in page.text


def test_an_eval_page_calls_things_as_its_document_does() -> None:
    text = eval_page.eval_html(result(rows(), PUBLISHED))
    assert "<title>synapcc eval pumps: protocol A, 2 pumps</title>" in text
    page = sound(text)
    assert not re.search(r"\b(beats?|patients?|ECG|medical|minutes?|sensitivity)\b", page.text, re.IGNORECASE)
    for told in (
        "synapcc eval pumps",
        "After one labelled day of each pump",
        "One pass is the day once",
        "Valves were opened by hand. For <engineers>.",
        "Recall and F1 in percent. Gross: every stroke counts alike",
        "All in float.",
    ):
        assert told in page.text, told
    assert ["class", "Rec gross", "F1 gross", "Rec average", "F1 average"] in page.cells
    assert "pump" in page.cells[page.cells.index(next(c for c in page.cells if "change" in c))]


def test_pages_do_not_depend_on_the_order_of_keys(report: Report) -> None:
    """What a command holds in memory and what it wrote to a file give the same page."""
    found = whole(rows(), PUBLISHED)
    for make, given in (
        (eval_page.eval_html, found),
        (bench_page.bench_html, bench()),
        (compile_page.compile_html, report),
    ):
        assert make(given) == make(backwards(given))


def backwards(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: backwards(v) for k, v in reversed(value.items())}
    return [backwards(v) for v in value] if isinstance(value, list | tuple) else value


def test_confusion_matrices_keep_the_order_of_the_classes() -> None:
    """JSON sorts the names of the classes; rows and columns of a matrix do not move with them."""
    page = sound(eval_page.eval_html(result(rows())))
    head = page.cells.index(["", "N", "S", "V", "F"])
    assert page.cells[head + 1] == ["N", "60", "40", "0", "0"]
    assert page.cells[head + 3] == ["V", "0", "1", "29", "0"]


def test_learning_curves_come_from_the_rows_or_from_their_curve() -> None:
    found = ways_of.ways(result(rows())["rows"])
    best = next(w for w in found if w.rule == "hebbian" and w.passes == 10)
    assert ways_of.curve(found, best, "accuracy") == [(0, 0.6), (1, 0.7), (10, pytest.approx(0.96))]
    points = [{"passes": k, "accuracy": a, "macro_f1": a / 2} for k, a in ((0, 0.6), (0.2, 0.65), (10, 0.9))]
    own = ways_of.ways([row("hebbian", 10, s, curve=points) for s in (1, 2)])
    assert ways_of.curve(own, own[0], "macro_f1") == [(0, 0.3), (0.2, 0.325), (10, 0.45)]
    sound(eval_page.eval_html(result([row("hebbian", 10, s, curve=points) for s in (1, 2)])))


def test_most_passes_are_shown_and_names_are_no_longer_than_needed() -> None:
    found = ways_of.ways(rows())
    chosen = ways_of.shown(found)
    assert [(w.rule, w.passes) for w in chosen] == [
        ("none", 0),
        ("float_bp", 10),
        ("hebbian", 10),
        ("bp", 10),
    ]
    assert list(ways_of.labels(chosen, brief=True).values()) == [
        "before learning",
        "float_bp",
        "hebbian",
        "bp",
    ]
    both = ways_of.ways(
        [*rows(), row("hebbian", 10, weights="int8"), row("bp", 3, replay=True, model="x/y.onnx")]
    )
    assert len(set(ways_of.labels(ways_of.shown(both), brief=True).values())) == 6
    assert len(set(ways_of.labels(both).values())) == 7


def test_the_base_model_alone_has_a_page() -> None:
    page = sound(eval_page.eval_html(result(rows()[:1])))
    assert "Before learning: 2 pumps" in page.text and "Every pump" not in page.text


def test_rule_files_and_words_are_escaped() -> None:
    found = json.loads(json.dumps(rows()).replace('"hebbian"', json.dumps(HOSTILE.replace("/", "|"))))
    text = eval_page.eval_html(result(found, PUBLISHED))
    sound(text)
    assert "&lt;script&gt;" in text and "theirs &lt;1999&gt;" in text


def test_eval_refuses_a_folder_before_it_works(capsys: Capsys) -> None:
    assert "is a folder" in refusal(["eval", "ecg", "--html", "."], capsys)


# ---- bench --------------------------------------------------------------------------------------------


def op(
    node: str, kernel: str, phase: str, macs: int, instructions: int | None, cycles: float | None
) -> Report:
    return {
        "node": node, "op": kernel.split(".")[0], "kernel": kernel, "phase": phase, "macs": macs,
        "instructions": instructions, "cycles": cycles,
    }  # fmt: skip


def bench() -> Report:
    forward = [("fc1", "dense.forward", 1000, 1500, 1700.5), ("clip1", "clip.forward", 0, 90, 100.0)]
    back = [("fc1", "project.matrix", 1000, 2500, 2700.0), ("fc1", "dense.update", 1000, 4500, 5000.0)]
    ops = [op(n, k, "infer", m, i, c) for n, k, m, i, c in forward]
    ops += [op(n, k, "learn", m, i, c) for n, k, m, i, c in forward + back]
    ops[-1] |= {
        "worst": {"instructions": 9000, "cycles": 9900},
        "runs": 1,
        "classes": {"load": 3, "other": 1},
    }
    infer = {"instructions": 1640, "cycles": 1850.5, "milliseconds": 0.074, "microjoule": None}
    learn = {"instructions": 8700, "cycles": 9600.0, "milliseconds": 0.384, "microjoule": 1.25}
    return {
        "model": "ecg", "core": "cortex-m4", "device": "qemu", "board": "mps2_an386", "clock_hz": 25_000_000,
        "ops": ops, "flash": 20480, "ram": 4321, "stack": 456, "counted": "by SysTick",
        "power": {"microamp_per_mhz": 100, "volt": 3.0, "source": "data sheet, table 9"},
        "total": {
            "infer": infer,
            "learn": {**learn, "worst": {"instructions": 12345, "cycles": 13000}, "min": {"cycles": 7}},
            "rehearse": {"instructions": 70000, "cycles": 81000, "learned": 8},
        },
    }  # fmt: skip


def test_bench_pages_say_what_the_json_says() -> None:
    page = sound(bench_page.bench_html(bench()))
    assert "Where the instructions go: ecg on cortex-m4" in page.text
    assert (
        "One inference takes 1,640 instructions , 1.64 per multiply-accumulate; 91.5 % of them are"
        in page.text
    )
    learn = (
        "One learning step takes 8,700 instructions (at worst 12,345), 2.90 per multiply-accumulate; 51.7 %"
    )
    assert f"{learn} of them are dense.update of fc1" in page.text
    row = ["fc1", "dense", "dense.update", "1", "1,000", "4,500", "5,000", "4.50", "5.00", "9,000", "9,900"]
    assert row in page.cells
    assert {"20,480", "4,321", "456"} <= numbers(page) and ["clock", "25 MHz"] in page.cells
    assert ["current", "100 µA/MHz at 3 V (data sheet, table 9)"] in page.cells
    assert "50 instructions are between the ops" in page.text
    assert ["instructions", "1,640", "8,700", "70,000"] in page.cells
    assert ["ms", "0.074", "0.384", "–"] in page.cells and ["µJ", "–", "1.25", "–"] in page.cells
    assert ["instructions, at worst", "–", "12,345", "–"] in page.cells
    assert ["learn", "3", "0", "0", "0", "1"] in page.cells


def test_bars_of_a_bench_page_are_to_scale() -> None:
    text = bench_page.bench_html(bench())
    bars = re.findall(r'<rect class="fs-c\d" x="0%" width="([\d.]+)%"', text)
    assert [float(w) for w in bars[:4]] == pytest.approx([100, 100 / 6, 250 / 9, 50], abs=0.01)
    assert 'class="stroke s-ink" x1="100%"' in text  # at worst twice as many


def test_a_device_that_counts_no_instructions_shows_cycles_or_work() -> None:
    found = bench()
    for o in found["ops"]:
        o["instructions"] = None
    found["total"] = {p: {"cycles": t["cycles"]} for p, t in found["total"].items()}
    page = sound(bench_page.bench_html(found))
    assert "Where the cycles go" in page.text and "9,600 cycles" in page.text
    for o in found["ops"]:
        o["cycles"] = None
    found |= {"total": {"infer": {}, "learn": {}}, "stack": None}
    page = sound(bench_page.bench_html(found))
    assert "Where the work goes" in page.text and "Stack" not in page.text


def test_a_kernel_alone_is_no_network() -> None:
    page = sound(bench_page.bench_html(bench() | {"spec": "dense 256 128"}))
    assert "Where the instructions go: dense 256 128 on cortex-m4" in page.text
    assert "One pass forward takes 1,640" in page.text and "One inference" not in page.text


def test_bench_writes_its_page(tmp_path: Path, capsys: Capsys) -> None:
    _, out = compiled(tmp_path)
    words = ["bench", str(out), "--device", "unicorn", "--samples", "1"]
    capsys.readouterr()
    assert main([*words, "--json", "-", "--html", str(tmp_path / "a" / "b.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    text = (tmp_path / "a" / "b.html").read_text(encoding="utf-8")
    assert text == bench_page.bench_html(found)
    assert f"One inference takes {found['total']['infer']['instructions']:,} instructions" in sound(text).text
    assert "is a folder" in refusal([*words, "--html", str(tmp_path)], capsys)


def test_names_in_a_bench_page_are_escaped() -> None:
    harmless(bench_page.bench_html(spoilt(bench(), "fc1")))
    harmless(bench_page.bench_html(spoilt(bench(), "qemu")))


# ---- verify -------------------------------------------------------------------------------------------


def evidence(model: Compiled, difference: Difference | None, steps: int = 20) -> Report:
    stats = Stats(steps, 120, 1, 0, 2, 0, 416, 4096, steps, 9, 0, 0, 0, 0)
    verdict = Verdict(
        steps, difference.bytes if difference else 0, 0 if difference else 120, ("learn", "rehearse"),
        model.plan.state_bytes, difference, stats,
    )  # fmt: skip
    seconds = [0.001 * (i % 5 + 1) for i in range(steps)]
    board = load_board("mps2_an386")
    found = verify_page.evidence(model.plan, board, "unicorn", verdict, seconds)
    loaded: Report = json.loads(json.dumps(found))
    return loaded


def test_verify_pages_say_what_was_compared(model: Compiled) -> None:
    found = evidence(model, None)
    page = sound(verify_page.verify_html(found))
    size = model.plan.state_bytes
    assert "0 differing bytes in 20 learning steps" in page.text and found["digest"] in page.text
    assert f"{22 * size:,}" in page.text  # after 20 steps and a rehearsal, and read back
    assert sum(found["state"].values()) == sum(t.nbytes for t in model.plan.space("state"))
    for kind, n in found["state"].items():
        assert [kind, f"{n:,}", "22", f"{22 * n:,}"] in page.cells
    assert ["bytes of stack used at most", "416"] in page.cells and ["device", "unicorn"] in page.cells
    assert page.text.count("✓ equal") == 5 and "✗" not in page.text


def bad(program: str, step: int = 3, tensor: str = "fc1_weight") -> Difference:
    op = "first op that differs: dense.update of fc1 (op 9), its w fc1_weight[0][1] expected 5, got 6"
    return Difference(step, program, tensor, (0, 1), 5, 6, 2, op)


@pytest.mark.parametrize(
    ("program", "step", "equal", "never"),
    [
        ("infer", 0, 0, 4),
        ("learn", 3, 1, 3),
        ("rehearse", 20, 2, 2),
        ("infer", 20, 3, 1),
        ("read back", 20, 4, 0),
    ],
)
def test_a_difference_comes_first_and_ends_the_course(
    model: Compiled, program: str, step: int, equal: int, never: int
) -> None:
    difference = bad(program, step)
    page = sound(verify_page.verify_html(evidence(model, difference, max(step, 1))))
    assert "2 differing bytes in" in page.text and "fc1_weight[0][1]: expected 5, got 6" in page.text
    assert difference.op in page.text and page.text.count("✗") == 1
    assert page.text.count("✓ equal") == equal and page.text.count("not reached") == never


def test_names_in_a_verify_page_are_escaped(model: Compiled) -> None:
    harmless(verify_page.verify_html(evidence(model, bad("learn", tensor=HOSTILE))))
    harmless(verify_page.verify_html(evidence(model, None) | {"device": HOSTILE}))


def test_verify_writes_its_page(tmp_path: Path, capsys: Capsys) -> None:
    c, out = compiled(tmp_path)
    words = ["verify", str(out), "--data", str(c.data), "--steps", "6", "--device", "process"]
    capsys.readouterr()
    assert main([*words, "--timing", "--json", "-", "--html", str(tmp_path / "a" / "v.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    text = (tmp_path / "a" / "v.html").read_text(encoding="utf-8")
    assert text == verify_page.verify_html(found)
    assert "0 differing bytes in 6 learning steps" in sound(text).text and found["stats"]["learns"] == 6
    assert len(found["seconds"]) == 6 and found["board"] == "mps2_an386"
    assert "is a folder" in refusal([*words, "--html", str(tmp_path)], capsys)


def test_a_model_that_learns_nothing_is_verified_too(tmp_path: Path, capsys: Capsys) -> None:
    c = case(tmp_path)
    c.rule.write_text('rule = "none"\n')
    out = tmp_path / "out"
    assert main(c.words(out)) == 0
    words = [
        "verify",
        str(out),
        "--data",
        str(c.data),
        "--device",
        "process",
        "--html",
        str(tmp_path / "v.html"),
    ]
    assert main(words) == 0
    page = sound((tmp_path / "v.html").read_text(encoding="utf-8"))
    assert "says what the emulator says" in page.text and "What was compared" not in page.text


# ---- inspect --learn ----------------------------------------------------------------------------------


def diagnosis() -> Report:
    def layer(name: str, angle: float | None, dead: float | None) -> Report:
        told = {"first": angle, "mean": angle, "last": angle}
        curve = [{"step": k, "angle": angle, "angle_stored": angle, "dead": dead} for k in (10, 20)]
        return {
            "layer": name, "weights": 96, "saturated": 3, "saturated_share": 0.02, "idle_steps": 4,
            "products": 50, "dead": dead,
            "angle": told, "angle_stored": told, "curve": curve,
        }  # fmt: skip

    return {
        "model": "ecg", "digest": "00ff", "rule": "hebbian", "samples": 20, "steps": 24, "without_error": 2,
        "warning": "fc1: too many",
        "layers": [layer("fc1", 61.25, 0.125), layer("fc2", 20.0, 0.5), layer("fc3", None, None)],
        "tensors": [{"tensor": "fc1_weight", "values": 96, "at_limits": 2}],
    }  # fmt: skip


def test_diagnostics_say_what_the_json_says() -> None:
    page = sound(learn_page.learn_html(diagnosis()))
    assert (
        "fc1, 61.2° on average" in page.text and "at most 50 % of the changes of a layer (fc2)" in page.text
    )
    assert "Warning: fc1: too many." in page.text
    assert "held at their limits 9 times" in page.text and "chance." not in page.text
    assert ["fc3", "96", "3", "2 %", "–", "4", *["–"] * 6] in page.cells and [
        "fc1_weight",
        "96",
        "2",
        "2.1 %",
    ] in page.cells
    assert learn_page.learn_html(diagnosis()) == learn_page.learn_html(backwards(backwards(diagnosis())))


@pytest.mark.parametrize(
    ("angle", "told"),
    [
        (120.0, "120.0° on average, which points away"),
        (90.5, "90.5° on average, which is no better than chance"),
    ],
)
def test_an_update_that_leads_nowhere_is_told(angle: float, told: str) -> None:
    found = diagnosis()
    found["layers"][0]["angle"]["mean"] = found["layers"][0]["curve"][0]["angle"] = angle
    page = sound(learn_page.learn_html(found))
    assert told in page.text and "180°" in page.text


def test_a_run_without_an_error_has_a_page() -> None:
    found = diagnosis() | {"layers": diagnosis()["layers"][2:]}
    assert "Rounding" not in sound(learn_page.learn_html(found)).text
    harmless(learn_page.learn_html(spoilt(diagnosis(), "fc2")))


def test_inspect_writes_its_page(tmp_path: Path, capsys: Capsys) -> None:
    c, out = compiled(tmp_path)
    words = ["inspect", str(out), "--learn", str(c.data)]
    capsys.readouterr()
    assert main([*words, "--json", "-", "--html", str(tmp_path / "a" / "l.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    text = (tmp_path / "a" / "l.html").read_text(encoding="utf-8")
    assert text == learn_page.learn_html(found) and "How well hebbian teaches net" in sound(text).text
    assert "is a folder" in refusal([*words, "--html", str(tmp_path)], capsys)
    assert "--html" in refusal(["inspect", str(out), "--html", str(tmp_path / "x.html")], capsys)
