"""synapcc bench: equal at every run and on both virtual devices, sums that add up, kernels alone, the page of
benchmarks."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from projects import arrays, compiled, refusal

from synapcc.gen.errors import SynapccError
from synapcc.gen.ops import layers
from synapcc.gen.target.boards import BOARDS
from synapcc.gen.target.messages import Region
from synapcc.host.bench import meter
from synapcc.host.bench import table as benchmarks
from synapcc.host.bench.cycles import CLASSES, MODELS, classes, estimate
from synapcc.host.bench.decode import decode
from synapcc.host.bench.kernel_spec import parse
from synapcc.host.bench.peers import CMSIS_NN, TRAINING
from synapcc.host.bench.report import bench_kernel, bench_project
from synapcc.host.cli import main
from synapcc.host.devices import open_device
from synapcc.host.devices._counter import Runs
from synapcc.host.link.client import connect

NO_QEMU = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None, reason="qemu-system-arm is not installed"
)
NO_GCC = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"
)
STORE = "[store]\nsamples = 8\n[replay]\nsamples = 6\nevery = 2\n"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "BENCHMARKS.md"

Report = dict[str, Any]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("bench"), more=STORE)[1]


@pytest.fixture(scope="module")
def report(project: Path) -> Report:
    return bench_project(project, "unicorn")


def without(report: Report, *keys: str) -> Report:
    return {k: v for k, v in report.items() if k not in keys}


# ---- an output folder ---------------------------------------------------------------------------------


def test_equal_at_every_run(project: Path, report: Report) -> None:
    assert bench_project(project, "unicorn") == report
    assert bench_project(project, "unicorn", seed=2)["total"] != report["total"]


@NO_QEMU
def test_qemu_and_unicorn_agree_to_the_instruction(project: Path, report: Report) -> None:
    other = bench_project(project, "qemu")
    assert without(other, "device", "counted") == without(report, "device", "counted")
    assert other["counted"].startswith("qemu ") and "unicorn" in other["counted"]


def test_json_has_what_it_promises(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    assert main(["bench", str(project), "--json", str(file)]) == 0
    said = capsys.readouterr().out
    assert main(["bench", str(project), "--json", "-"]) == 0
    content = file.read_text()
    assert capsys.readouterr().out == content
    figures = json.loads(content)
    assert {"core", "device", "ops", "total", "flash", "ram", "stack"} <= set(figures)
    assert (figures["core"], figures["device"]) == ("cortex-m4", "unicorn")
    assert set(figures["total"]) == {"infer", "learn", "rehearse"}
    for op in figures["ops"]:
        assert {"node", "op", "kernel", "phase", "macs", "instructions", "cycles"} <= set(op)
        assert op["phase"] in ("infer", "learn") and op["kernel"].split(".")[0] == op["op"]
        assert op["node"] in said and f"{op['instructions']:,}" in said
    assert figures["flash"] > 5000 and figures["ram"] > 2000 and figures["stack"] > 500
    assert "worst case" in said and figures["counted"] in said


def test_ops_and_what_lies_between_add_up(report: Report) -> None:
    for phase in ("infer", "learn"):
        total = report["total"][phase]
        for key in ("instructions", "cycles", "macs"):
            between = total["between"][key] if key != "macs" else 0
            parts = sum(op[key] for op in report["ops"] if op["phase"] == phase)
            assert abs(parts + between - total[key]) <= (len(report["ops"]) if key == "cycles" else 0)
        assert abs(total["between"]["instructions"]) < 100
    for op in report["ops"]:
        assert sum(op["classes"].values()) == op["instructions"] and tuple(op["classes"]) == CLASSES


def test_flow_is_followed(report: Report) -> None:
    """Replay is due at the second sample, so one learn runs no base example; the worst case does."""
    ran = [op["kernel"] for op in report["ops"] if op["phase"] == "learn"]
    assert "samples.write" in ran and "dense.update" in ran and "samples.pick" not in ran
    learn = report["total"]["learn"]
    assert learn["worst"]["instructions"] > 1.5 * learn["instructions"]
    assert report["total"]["rehearse"]["instructions"] > 8 * learn["min"]["instructions"]


def test_least_longest_and_worst(project: Path, report: Report) -> None:
    for phase in ("infer", "learn"):
        total = report["total"][phase]
        assert total["min"]["instructions"] <= total["instructions"] <= total["worst"]["instructions"]
    many = bench_project(project, "unicorn", samples=40, seed=9)["total"]["learn"]
    assert many["instructions"] <= report["total"]["learn"]["worst"]["instructions"]
    assert all(op["worst"]["instructions"] * op["runs"] >= op["instructions"] for op in report["ops"])


def test_given_samples(project: Path, tmp_path: Path, report: Report) -> None:
    file = tmp_path / "data.npz"
    np.savez(file, **arrays(n=20))  # type: ignore[arg-type]
    figures = bench_project(project, "unicorn", file, samples=5)
    assert figures["total"]["learn"]["samples"] == 5 and "data.npz" in figures["data"]
    assert figures["total"] != report["total"]


def test_inference_only(tmp_path: Path) -> None:
    figures = bench_project(compiled(tmp_path, rule="none")[1], "unicorn")
    assert set(figures["total"]) == {"infer"} and {op["phase"] for op in figures["ops"]} == {"infer"}


def test_a_chip_keeps_what_it_had_learned(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for silicon: a virtual chip behind `serial`, whose ticks are then instructions."""
    with open_device("unicorn:count", project) as chip:
        client = connect(chip)
        for label in (0, 1, 2):
            client.learn(bytes(range(12)), label)
        before = client.digest(), client.read(Region.ARENA, 0, client.info.arena_bytes)
        monkeypatch.setattr(meter, "open_device", lambda *_: chip)
        monkeypatch.setattr(chip, "close", lambda: None)
        figures = bench_project(project, "serial:port")
        after = connect(chip)
        assert (after.digest(), after.read(Region.ARENA, 0, after.info.arena_bytes)) == before
    assert figures["total"]["learn"]["instructions"] is None and figures["total"]["learn"]["cycles"] > 1000
    assert "SYSTICK" in figures["counted"]


# ---- one kernel alone ---------------------------------------------------------------------------------


def test_a_dense_layer_alone() -> None:
    small, large = (bench_kernel(f"dense {n} 32", "unicorn") for n in (64, 128))
    assert [op["kernel"] for op in small["ops"]] == ["dense.forward"] and small["ops"][0]["macs"] == 2048
    assert small["total"]["infer"]["instructions"] == small["ops"][0]["instructions"]
    grown = large["total"]["infer"]["instructions"] - small["total"]["infer"]["instructions"]
    assert 1 <= grown / 2048 <= 4
    learned = bench_kernel("dense 64 32", "unicorn", phase="learn", weights="int16")
    assert [op["kernel"] for op in learned["ops"]] == ["dense.forward", "dense.update"]


@pytest.mark.parametrize(
    ("line", "positions"),
    [
        pytest.param("dense{} 4 {}", 1, marks=pytest.mark.long),
        ("conv1d{} 36x1 k4->{}", 33),
        pytest.param("conv2d{} 6x6x4 1x1->{}", 36, marks=pytest.mark.long),
        pytest.param("depthwise{} 6x6x{} 1x1", 36, marks=pytest.mark.long),
    ],
)
def test_a_requantisation_by_multiplier_takes_ten_instructions(line: str, positions: int) -> None:
    """From a sum to the byte stored: what an output more costs, less what it costs where a shift is enough,
    which is four instructions: LDRB of the shift, ASR, SSAT, STRB."""
    each = []
    for kind in ("", "-scaled"):
        few, many = (
            bench_kernel(line.format(kind, rows), "unicorn")["total"]["infer"]["instructions"]
            for rows in (32, 64)
        )
        each.append((many - few) / (32 * positions))
    assert 4 < each[1] - each[0] + 4 <= 10


def test_an_update_alone_costs_by_its_rounding() -> None:
    counts = {
        rounding: bench_kernel("update 64 32", "unicorn", rounding=rounding)["total"]["learn"]["instructions"]
        for rounding in ("nearest", "stochastic", "dither")
    }
    assert len(set(counts.values())) == 3 and min(counts, key=lambda r: counts[r]) == "nearest"
    assert all(2048 < n < 40 * 2048 for n in counts.values())


def test_a_perceptron_is_counted_as_a_folder_is() -> None:
    figures = bench_kernel("mlp 16 8 3", "unicorn", rule="bp", weights="int16")
    assert set(figures["total"]) == {"infer", "learn"} and figures["total"]["infer"]["macs"] == 16 * 8 + 8 * 3
    assert figures["spec"] == "mlp 16 8 3"


def test_hard_operands_are_none_that_a_step_refuses() -> None:
    """Where a sum is proven by what all errors are together, not every error can be the largest."""
    found = bench_kernel("mlp 256 64 32 5", "unicorn", rule="bp", weights="int16")
    hard = [op for op in found["ops"] if op["kernel"] == "project.matrix"]
    assert len(hard) == 2 and all(op["worst"]["instructions"] >= op["instructions"] for op in hard)


@NO_QEMU
@pytest.mark.long
def test_what_outlasts_systick_is_counted_as_exactly() -> None:
    kernel, rounding = "update 784 800", "dither"
    counts = [bench_kernel(kernel, device, rounding=rounding)["total"] for device in ("unicorn", "qemu")]
    assert counts[0] == counts[1] and counts[0]["learn"]["instructions"] > 2**24 / 1.6


def test_time_and_energy_are_those_of_the_board(tmp_path: Path) -> None:
    text = (BOARDS / "mps2_an386.toml").read_text().replace('name = "mps2_an386"', 'name = "mine"')
    power = '\n[power]\nmicroamp_per_mhz = 100\nsource = "some data sheet"\n'
    (tmp_path / "mine.toml").write_text(text + power)
    figures = bench_kernel("dense 16 8", "unicorn", board=str(tmp_path / "mine.toml"))
    total = figures["total"]["infer"]
    assert total["milliseconds"] == pytest.approx(total["cycles"] / 25e3)
    assert total["microjoule"] == pytest.approx(total["cycles"] * 100e-12 * 3.0 * 1e6)
    assert figures["power"]["source"] == "some data sheet"
    plain = bench_kernel("dense 16 8", "unicorn")
    assert plain["power"] is None and plain["total"]["infer"]["microjoule"] is None


def test_cores_differ() -> None:
    m4 = bench_kernel("dense 16 8", "unicorn")
    m3 = bench_kernel("dense 16 8", "unicorn", board="mps2_an385")
    assert (m4["core"], m3["core"]) == ("cortex-m4", "cortex-m3")
    assert (m4["kernels"], m3["kernels"]) == ("dsp", "ref")
    assert m3["total"]["infer"]["cycles"] > m4["total"]["infer"]["cycles"]


# ---- what it refuses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "OUT: what shall be counted?; give either OUT or --kernel"),
        (["OUT", "--kernel", "dense 2 2"], "OUT: what shall be counted?"),
        (["nowhere"], "nowhere"),
        (["OUT", "--device", "process"], "device 'process': nothing counts there; devices: qemu, unicorn"),
        (["OUT", "--device", "unicorn:count"], "device 'unicorn:count': nothing counts there"),
        (["OUT", "--device", "serial"], "serial: which port?"),
        (["OUT", "--samples", "0"], "--samples: 0"),
        (["OUT", "--seed", "-1"], "--seed: -1"),
        (["OUT", "--data", "no.npz"], "no.npz: there is no such file"),
        (["OUT", "--json", "/no/folder/x.json"], "there is no folder /no/folder"),
        (["OUT", "--weights", "int8"], "--weights: belongs to --kernel; OUT has its own"),
        (["--kernel", "dense 2 2", "--seed", "3"], "--seed: belongs to OUT; leave it out"),
        (
            ["--kernel", "conv2d 8x8x6 3x3->4 g4"],
            "6 channels and 4 filters in 4 groups; they must divide evenly",
        ),
        (["--kernel", "conv2d-back 8x8x4 3x3->4 g2"], "is not how conv2d-back is written"),
        (["--kernel", "depthwise 8x8x4 5x5 d2"], "the kernel is larger than the map"),
        (["--kernel", "globalavg 4x0x3"], "a size is 0 or too large"),
        (["--kernel", "gru 3 4"], "there is no kernel 'gru'; write one like avgpool 16x16x16 2x2; conv1d"),
        (["OUT", "--json", "x.out", "--html", "./x.out"], "x.out: two results would be one file"),
        (["--kernel", ""], "kernel: is given, but empty; give a value, or leave it out"),
        (["--kernel", "", "--seed", "3"], "kernel: is given, but empty"),
        (["--kernel", "dense 3"], "is not how dense is written; write it like 'dense 256 128'"),
        (["--kernel", "dense 0 3"], "a size is 0 or too large"),
        (["--kernel", "depthwise 4096x4096x1 4000x4000 same"], "all its windows hold 268435456000000 values"),
        (["--kernel", f"dense {'9' * 5000} 3"], "a size is 0 or too large"),
        (["--kernel", f"mlp 3 {'9' * 5000}"], "a size is 0 or too large"),
        (["--kernel", "conv2d 8x8x4 3x3->4 s99999999999"], "a size is 0 or too large"),
        (["--kernel", "dense 9999 9999999"], "a size is 0 or too large"),
        (["--kernel", "mlp 9999 9999999 2"], "a layer is too large"),
        (["--kernel", "mlp 5 0"], "a layer is too large, or empty"),
        (["--kernel", "conv1d 64x16 5->32"], "is not how conv1d is written; write it like 'conv1d 64x16 k5"),
        (["--kernel", "update 5 1", "--phase", "infer"], "--phase: 'update 5 1' has no infer; it has learn"),
        (["--kernel", "mlp 5 2", "--rule", "magic"], "--rule: no rule 'magic'; rules: bp, "),
        (["--kernel", "dense 2 2", "--board", "mars"], "mars: there is no such board"),
        (["--kernel", "dense 2 2", "--kernels", "warp"], "has no kernel set 'warp'; it has ref, dsp"),
        (["--kernel", "conv2d-back 4x4x2 3x3->2"], "rule dfa has no such step; name a rule that has"),
        (["--kernel", "dense 600 500", "--board", "microbit"], "bytes of flash, microbit has"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_refusals(words: list[str], what: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(project) if word == "OUT" else word for word in words]
    assert what in refusal(["bench", *given], capsys)


# ---- instructions and cycles --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("7047", "branch", 0),  # bx lr
        ("9047", "call", 0),  # blx r2
        ("00f000f8", "call", 0),  # bl
        ("fed1", "branch", 0),  # bne
        ("01b1", "branch", 0),  # cbz
        ("dfe800f0", "table branch", 0),  # tbb
        ("10b5", "store many", 2),  # push {r4, lr}
        ("30bd", "load many", 3),  # pop {r4, r5, pc}
        ("bde8f08f", "load many", 9),  # pop.w {r4-r11, pc}
        ("d1e90023", "load many", 2),  # ldrd
        ("0968", "load", 1),  # ldr r1, [r1]
        ("11f9013b", "load", 1),  # ldrsb.w r3, [r1], #1
        ("0854", "store", 1),  # strb r0, [r1, r0]
        ("c1f80420", "store", 1),  # str.w r2, [r1, #4]
        ("5143", "multiply", 0),  # muls
        ("02fb0135", "multiply-add", 0),  # mla r5, r2, r1, r3
        ("22fb0135", "multiply-add", 0),  # smlad
        ("82fb0134", "long multiply", 0),  # smull
        ("c2fb0134", "long multiply-add", 0),  # smlal
        ("b2fbf1f3", "divide", 0),  # udiv
        ("20ee812a", "float", 0),  # vmul.f32
        ("01eb0202", "alu", 0),  # add.w
        ("4fea0303", "alu", 0),  # mov.w
        ("03f30f03", "alu", 0),  # ssat
        ("bff34f8f", "alu", 0),  # dsb
    ],
)
def test_instructions_are_known(code: str, kind: str, words: int) -> None:
    (found,) = decode(bytes.fromhex(code))
    assert found.kind == kind and (found.words == words or kind in ("load", "store"))


def test_cycles_are_what_the_tables_say() -> None:
    loads = bytes.fromhex("0a68 4b68 1a60 7047")  # ldr r2,[r1]; ldr r3,[r1,#4]; str r2,[r3]; bx lr
    chained = bytes.fromhex("0968 0a68 1a60 7047")  # the second load goes through what the first has loaded
    expected = {"cortex-m0": (2 + 2 + 2 + 3, 9), "cortex-m4": (2 + 1 + 1 + 3, 8), "cortex-m0plus": (8, 8)}
    for core, counts in expected.items():
        for code, count in zip((loads, chained), counts, strict=True):
            assert estimate((Runs(code, 10, 10),), MODELS[core]) == 10 * count
    found = classes((Runs(loads, 3, 0), Runs(chained, 1, 0)))
    assert found == {"load": 8, "store": 4, "multiply": 0, "branch": 4, "other": 0}
    # not taken: one cycle of the branch's three
    assert estimate((Runs(loads, 10, 0),), MODELS["cortex-m4"]) == 50
    pop = bytes.fromhex("30bd")
    assert [estimate((Runs(pop, 1, 1),), MODELS[c]) for c in ("cortex-m0", "cortex-m4")] == [7, 6]
    # two a cycle, but one access to memory
    assert estimate((Runs(loads, 1, 0),), MODELS["cortex-m7"]) == 3


def test_lines_say_distant_taps_groups_and_whole_maps() -> None:
    attrs = {text: parse(text).graph.nodes[0].attrs for text in (
        "conv2d 9x9x4 3x3->8 same d2 g2", "conv1d 20x4 k3->8 s2 d3", "depthwise 9x8x4 3x2 d2",
        "globalavg 5x6x7",
    )}  # fmt: skip
    two, one, deep, mean = attrs.values()
    assert (two["dilation"], two["groups"], two["padding"]) == ((2, 2), 2, (2, 2, 2, 2))
    assert (one["dilation"], one["groups"], one["stride"]) == ((1, 3), 1, (1, 2))
    assert (deep["dilation"], deep["groups"]) == ((2, 2), 4) and mean["kernel"] == (5, 6)


# ---- the page of benchmarks ---------------------------------------------------------------------------


def test_the_page_has_every_row_that_can_be_measured() -> None:
    asked: list[str] = []

    def measure(kernel: str, device: str, **_options: str) -> Report:
        asked.append(kernel)
        figures = {"instructions": 7, "macs": 7, "worst": {"instructions": 7}}
        return {"total": {"learn": figures}, "ram": 7, "toolchain": "some gcc", "counted": "by hand"}

    page = "\n".join(benchmarks.pages(measure))
    ops = {"conv1d": "conv2d", "depthwise": "conv2d", "maxpool": "maxpool2d", "softmax": "softmax_error"}
    for row in (*CMSIS_NN, *TRAINING):
        word = row.split()[0].removesuffix("-scaled")
        op = ops.get(word, word)
        there = op in (*layers(), "softmax_error", "mlp")
        assert (f"`{row}`" in page) == there == (row in asked), row
    for row in benchmarks.CONVOLUTIONS:
        assert f"| `{row}` | 7 | 7 (1.00) | 7 (1.00) |" in page and asked.count(row) == 2, row
    assert "| 152,066 (" in page and "| 9,097,981 |" in page and "some gcc; by hand" in page


def test_the_page_leaves_out_what_does_not_fit_a_board() -> None:
    def measure(kernel: str, device: str, **_options: str) -> Report:
        if kernel == "dense 784 100":
            raise SynapccError("bench", "needs at least 9 bytes of RAM, the board has 8: 1 too many")
        if kernel == "mlp 784 100 10":
            raise SynapccError("mlp", "is broken")
        figures = {"instructions": 7, "macs": 7, "worst": {"instructions": 7}}
        return {"total": {"learn": figures}, "ram": 7, "toolchain": "", "counted": ""}

    parts = benchmarks.pages(measure)
    with pytest.raises(SynapccError, match="is broken"):
        for part in parts:
            assert "dense 784 100" not in part and ("CMSIS-NN |" not in part or "dense 256 128" in part)


@NO_GCC
def test_the_page_is_what_is_measured() -> None:
    page = PAGE.read_text(encoding="utf-8")
    counts: dict[str, list[int]] = {"dense 64 32": [], benchmarks.UPDATE: []}
    for kernels in ("ref", "dsp"):
        fresh = bench_kernel("dense 64 32", "unicorn", board="mps2_an386", kernels=kernels)
        counts["dense 64 32"].append(fresh["total"]["infer"]["instructions"])
        learn = bench_kernel(
            benchmarks.UPDATE, "unicorn", weights="int16", rounding="nearest", kernels=kernels
        )
        counts[benchmarks.UPDATE].append(learn["total"]["learn"]["instructions"])
    if f"{fresh['toolchain']}; {fresh['counted']}" not in page:
        pytest.skip("the page was written with another toolchain or unicorn")
    ref, dsp = counts["dense 64 32"]
    table = page.partition("## M4: kernels")[2].partition("##")[0]
    assert re.search(
        rf"^\| `dense 64 32` \| 2,048 \| 5,552 \(2.71\) \| {ref:,} \(\d\.\d+\) \| {dsp:,} \(", table, re.M
    )
    ref, dsp = counts[benchmarks.UPDATE]
    assert re.search(rf"^\| int16 \| nearest \| {ref:,} \(\d+\.\d+\) \| {dsp:,} \(", page, re.M)


def test_the_page_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_words: str, **_options: str) -> Report:
        raise SynapccError("dense", "not today")

    monkeypatch.setattr(benchmarks, "bench_kernel", refuse)
    with pytest.raises(SynapccError, match="not today"):
        benchmarks.write(tmp_path / "page.md")
    assert not list(tmp_path.iterdir())
