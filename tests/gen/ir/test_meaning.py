"""What integers stand for is an object: powers of two where kernels shift, any scale where nothing does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import case, spawn

from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.ir.format import Format, Meaning, NoPowerOfTwo, PowerOfTwo, Scaled
from synapcc.gen.ir.quantiser import Quantiser, plain
from synapcc.gen.ops import kernels
from synapcc.gen.stages.plan_file import load_plan
from synapcc.host.link.state import real
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.plans import read_plan

FRACS = st.integers(-20, 30)
ZEROS = st.integers(-128, 127)
SCALES = st.floats(2.0**-30, 2.0**20)


@st.composite
def meanings(draw: st.DrawFn, rows: int) -> Meaning:
    """One for all, or one for each row."""
    many = rows if draw(st.booleans()) else 1
    if draw(st.booleans()):
        fracs = tuple(draw(FRACS) for _ in range(many))
        return PowerOfTwo(min(fracs), fracs if many > 1 else ())
    return Scaled(tuple(draw(SCALES) for _ in range(many)), tuple(draw(ZEROS) for _ in range(many)))


@given(st.data())
def test_units_bring_back_what_real_made(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 5))
    meaning = data.draw(meanings(rows))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    for shape in ((rows, columns), (rows,)):
        v = rng.integers(-(2**15), 2**15, shape)
        assert np.array_equal(meaning.units(meaning.real(v)), v)
        halfway = meaning.real(v + 0.25)
        assert np.array_equal(meaning.units(halfway), v)
    apart = meaning.real(np.full((rows, 1), 128)) - meaning.real(np.full((rows, 1), 127))
    assert np.isclose(np.max(apart), meaning.step, rtol=1e-9)


@given(FRACS, st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_a_power_of_two_is_what_it_was(frac: int, x: list[float]) -> None:
    """Bit for bit what the formula with a frac gives, and what Quantiser has for inputs."""
    meaning = Format("int8", frac, -128, 127).meaning
    assert np.array_equal(meaning.units(x), np.rint(np.array(x) * 2.0**frac))
    assert np.array_equal(meaning.real(x), np.array(x) * 2.0**-frac)
    assert plain(meaning) == Quantiser.power(frac)


@given(SCALES, ZEROS, st.lists(st.integers(-128, 127), min_size=1, max_size=8))
def test_a_quantiser_inverts_any_meaning(scale: float, zero: int, v: list[int]) -> None:
    meaning = Scaled((scale,), (zero,))
    x = meaning.real(v)
    assert plain(meaning).integers(x[None]).tolist() == [v]


def test_a_meaning_of_a_plan_is_read_back() -> None:
    for meaning in (PowerOfTwo(-3), Scaled((0.1,), (7,)), Scaled((0.5, 0.25), (0, -1))):
        assert Meaning.from_json(json.loads(json.dumps(meaning.to_json()))) == meaning
    assert PowerOfTwo(2, (2, 5)).common == PowerOfTwo(2) and str(PowerOfTwo(2, (2, 5))) == "Q by row"
    assert PowerOfTwo(4).to_json() == {"frac": 4}


FIXED = ("curve16.", "softmax.", "softmax16.", "pointwise16.", "unit_length.")
"""Kernels whose output has a scale that LiteRT fixes."""


def test_kernels_that_shift_refuse_it_and_others_take_it() -> None:
    """Every kernel is asked to lower such operands: it does, or says that it needs a power of two. Those that
    have two ends are asked for the one that shifts."""
    took, refused, files, meaning = set(), set(), set(), Scaled((0.1,), (3,))
    rng = np.random.default_rng(0)
    for name, k in kernels().items():
        cases = (k.case(rng) for _ in range(60))
        made = next((c for c in cases if "rounds" not in c.attrs), None)
        if made is None:
            files.add(name)
            continue
        infos = {r: np.iinfo(a.dtype) for r, a in made.arrays.items()}
        formats = {r: Format(str(i.dtype), meaning, int(i.min), int(i.max)) for r, i in infos.items()}
        try:
            k.lower(formats, {key: v for key, v in made.attrs.items() if key != "rounds"}, "node")
            took.add(name)
        except CompileError as e:
            assert isinstance(e, NoPowerOfTwo) or name.startswith(FIXED), name
            assert "\n" not in str(e) and "scale 0.1, zero point 3" in str(e)
            refused.add(name)
        except KeyError as e:  # an attribute that a case, which is lowered already, has no longer
            assert e.args[0] not in formats, name
    assert {"dense.forward", "accumulate.add", "add.forward", "conv2d.forward"} <= refused
    assert {"samples.write", "samples.read", "transpose.permute", "maxpool2d.forward"} <= took
    assert {"pad.forward", "gather.forward"} <= took
    assert files == {"squared_difference.forward"}  # it never shifts


RULE = """
from synapcc.gen.ir.format import Scaled
from synapcc.gen.rules import Rule

class Millivolts(Rule):
    name = "millivolts"
    doc = "keeps raw samples as the converter gives them"
    source = "none"
    def programs(self, tape):
        raw = tape.sample("raw", 4, "int16", Scaled(({scale},), ({zero},)))
        ring = tape.memory("ring", raw, 3)
        last, following = tape.counter("last", "the last one"), tape.counter("following", "the next one")
        rows = tape.counter("rows", "", 3, "const")
        with tape.entry("push", "keeps raw samples", (raw,)):
            picked = {{"count": rows, "next": following, "index": last, "flag": tape.flag("valid")}}
            tape.step("samples.pick", "push", picked, rows=3)
            tape.step("samples.write", "push", {{"x": raw, "index": last, "table": ring}})
            {more}
    def correct(self, tape):
        tape.backward(lambda node: None)
"""


def project(folder: Path, scale: str = "0.0048", zero: str = "512", more: str = "pass") -> Any:
    (folder / "rule.py").write_text(RULE.format(scale=scale, zero=zero, more=more))
    c = case(folder / "case", "millivolts")
    return spawn([*c.words(folder / "out"), "--rule-path", str(folder / "rule.py")]), c


def test_samples_of_any_scale_pass_through_all_that_does_not_shift(tmp_path: Path) -> None:
    """Compiled, in the header, in the emulator, in C: a converter's numbers, 0.0048 mV with an offset."""
    done, c = project(tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    plan = read_plan(out)
    assert plan["raw"].meaning == plan["ring"].meaning == Scaled((0.0048,), (512,))
    assert plan.q(plan["ring"]) == "scale 0.0048, zero point 512"
    assert load_plan(plan.canonical, "plan.json") == plan
    header = next(out.glob("lib/*/src/*.h")).read_text()
    assert "int16_t raw[4]; /* scale 0.0048, zero point 512 */" in header
    assert "v stands for (v - zero point) * scale." in header
    machine = Emulator(plan)
    x = np.array([[0.0, 0.0048, -1.2, 2.4]])
    machine.run("push", inputs={"raw": x})
    assert machine["ring"][0, 0].tolist() == [512, 513, 262, 1012]
    assert np.allclose(real(plan["ring"], machine["ring"][0, 0]), x, atol=1e-12)
    done = spawn(["verify", str(out), "--data", str(c.data), "--steps", "20", "--device", "process"])
    assert done.returncode == 0 and done.stdout.endswith("verify: 20 steps, 0 differing bytes\n"), done.stderr
    for words in (["inspect", str(out)], ["inspect", str(out), "--json", "-"]):
        assert spawn(words).returncode == 0


def test_a_kernel_that_shifts_says_so_in_one_line(tmp_path: Path) -> None:
    more = 'tape.step("accumulate.add", "push", {"left": raw, "right": raw, "g": tape.teach("twice", (4,))})'
    done, _ = project(tmp_path, more=more)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    said = (
        "push: accumulate.add shifts, and the numbers have scale 0.0048, zero point 512, which is no power of"
    )
    assert said in done.stderr and not (tmp_path / "out").exists()


def test_frac_is_refused() -> None:
    fmt = Format("int8", Scaled((0.1,), (3,)), -128, 127)
    with pytest.raises(CompileError, match=r"scale 0\.1, zero point 3, which is no power of two"):
        _ = fmt.frac
    assert fmt.row_fracs == () and Format("int8", 3, -1, 1, (3, 4)) == Format(
        "int8", PowerOfTwo(3, (3, 4)), -1, 1
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scale": [0.0], "zero": [0]}, "no positive number"),
        ({"scale": [-1.0], "zero": [0]}, "no positive number"),
        ({"scale": [1], "zero": [0]}, "no positive number"),
        ({"scale": [0.5], "zero": [1 << 15]}, "zero point beyond its limits"),
        ({"scale": [0.5], "zero": [0.5]}, "zero point beyond its limits"),
        ({"scale": [0.5, 0.5], "zero": [0, 0]}, "2 scales and 2 zero points for 4 rows"),
        ({"scale": [0.5], "zero": []}, "1 scales and 0 zero points"),
        ({"frac": 1.5}, "has a number that is none"),
        ({"frac": None}, "has a number that is none"),
        ({}, "KeyError"),
    ],
)
def test_a_plan_with_a_wrong_meaning_is_refused(
    change: dict[str, Any], said: str, meant: dict[str, Any]
) -> None:
    def changed(t: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in t.items() if k not in ("scale", "zero")} | change

    tensors = [changed(t) if t["name"] == "raw" else t for t in meant["tensors"]]
    text = json.dumps({**meant, "tensors": tensors}, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(SynapccError, match=said):
        load_plan(text, "plan.json")


@pytest.fixture(scope="module")
def meant(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The Plan of a project with scaled samples, as JSON."""
    folder = tmp_path_factory.mktemp("meant")
    done, _ = project(folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "out" / "plan.json").read_bytes())
    return found
