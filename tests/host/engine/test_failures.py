"""What the compiled engine meets that is broken or wrong: memory, numba, its cache, what it is given."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_nets import golden_plan

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ops import kernels
from synapcc.gen.ops._loops import Loop
from synapcc.host import engine
from synapcc.host.bench import emulator as bench
from synapcc.host.bench import roofline
from synapcc.host.link.checksum import SUMS
from synapcc.host.run import engines, front_cache
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.front_cache import FixedPart

pytest.importorskip("numba", reason="numba is not installed: pip install 'synapcc[fast]'")

BOTH = ("numpy", "compiled")
TINY = "from numba import njit\n\n\n@njit('int64(int64)', cache=True)\ndef entry(x):\n    return x + 1\n"


def _samples(plan: Plan, n: int, devices: int, seed: int = 1) -> tuple[dict[str, Any], Any]:
    rng = np.random.default_rng(seed)
    sizes = {name: plan[name].shape[0] for name in plan.inputs}
    inputs = {k: rng.integers(-128, 128, (n, devices, s)).astype(np.int8) for k, s in sizes.items()}
    return inputs, rng.integers(0, plan.classes, (n, devices))


def _greedy(x: Any, w: Any, b: Any, y: Any) -> None:
    scratch = np.empty(len(x) << 55, np.int8)
    for i in range(len(y)):
        y[i] = scratch[i] + w[i, 0] + b[i]


@pytest.mark.parametrize("devices", (1, 5))
def test_a_step_that_gets_no_memory_stops_the_run(devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "cores", lambda: 4)
    plan = golden_plan("pair")
    x = {name: values[0] for name, values in _samples(plan, 1, devices)[0].items()}
    with monkeypatch.context() as patch:
        patch.setattr(type(kernels()["dense.forward"]), "loop", Loop(_greedy, takes=lambda t, a: True))
        with pytest.raises(SynapccError, match="infer stopped, out of memory"):
            Emulator(plan, devices, engine="compiled").infer(x)
    want, got = (Emulator(plan, devices, engine=chosen).infer(x) for chosen in BOTH)
    assert np.array_equal(want.scores, got.scores)


def test_what_any_thread_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "cores", lambda: 3)

    def part(chosen: Any) -> None:
        if chosen[0]:
            raise ValueError(f"part {chosen[0]}")

    def parts(*numbers: int) -> list[Any]:
        return [np.array([n]) for n in numbers]

    engine._threads(part, parts(0, 0))
    with pytest.raises(ValueError, match="part 2"):
        engine._threads(part, parts(0, 2, 0))
    with pytest.raises(ExceptionGroup) as found:
        engine._threads(part, parts(1, 0, 3))
    assert sorted(map(str, found.value.exceptions)) == ["part 1", "part 3"]


@pytest.mark.parametrize("chosen", BOTH)
def test_checksums_that_have_no_room_are_refused(chosen: str) -> None:
    plan = golden_plan("pair")
    inputs, labels = _samples(plan, 4, 3)
    machine = Emulator(plan, 3, engine=chosen)
    before = machine.state.copy()
    fixed = np.zeros((4, 3, SUMS), np.uint64)
    fixed.flags.writeable = False
    wrong: tuple[Any, ...] = (
        np.zeros((4, 3, SUMS)),
        np.zeros((4, 3, SUMS), np.int64),
        np.zeros((4, 1, SUMS), np.uint64),
        np.zeros((3, 3, SUMS), np.uint64),
        np.zeros((4, 3, 2 * SUMS), np.uint64)[..., ::2],
        np.zeros((4, 3, SUMS), np.uint64).tolist(),
        fixed,
    )
    for checksums in wrong:
        with pytest.raises(
            SynapccError, match=r"checksums is .*; give numpy.zeros\(\(4, 3, 2\), numpy.uint64"
        ):
            machine.learn_many(inputs, labels, checksums=checksums)
    assert np.array_equal(before, machine.state)


def test_many_samples_run_by_the_engine_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """infer_many and evaluate; "auto" too, from as many samples on as pay."""
    plan = golden_plan("pair")
    inputs = {name: x[:, 0] for name, x in _samples(plan, 30, 1)[0].items()}
    want = Emulator(plan, engine="numpy").infer_many(inputs)
    monkeypatch.setattr(engines, "PAYS", 20)
    for chosen, few, many in (("compiled", "compiled", "compiled"), ("auto", "numpy", "compiled")):
        machine = Emulator(plan, 2, engine=chosen)
        machine.infer_many({name: x[:20] for name, x in inputs.items()}, 1)
        assert machine.ran == few
        got = machine.infer_many(inputs, 1)
        assert machine.ran == many and np.array_equal(want.scores, got.scores)
    machine = Emulator(plan, engine="compiled")
    machine.evaluate(inputs | {"label": np.zeros(30, np.int64)})
    assert machine.ran == "compiled"


@pytest.mark.parametrize("chosen", (*BOTH, "auto"))
def test_a_shared_state_learns_nothing(chosen: str) -> None:
    plan = golden_plan("pair")
    inputs, labels = _samples(plan, 4, 3)
    first = {name: x[0] for name, x in inputs.items()}
    machine = Emulator(plan, 3, read_only=True, engine=chosen)
    before = machine.state.copy(), machine.arena.copy()
    for learn in (
        lambda: machine.learn_many(inputs, labels),
        lambda: machine.learn(first, labels[0]),
        lambda: machine.learn_begin(first, labels[0]),
        lambda: machine.run("learn"),
        lambda: machine.begin("learn"),
    ):
        with pytest.raises(SynapccError, match="learn changes the state, which all devices share"):
            learn()
    assert np.array_equal(before[0], machine.state) and np.array_equal(before[1], machine.arena)


# -- an engine that cannot be had ------------------------------------------------------------------------


def test_a_numba_that_cannot_be_imported_is_none(tmp_path: Path) -> None:
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text('raise ImportError("Numba needs NumPy 1.0")\n')
    code = (
        "from synapcc.host import doctor, engine\n"
        "print([engine.unusable()[0], *(c.found for c in doctor.report() if c.name == 'numba')])\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "['numba cannot be imported: ImportError Numba needs NumPy 1.0', False]"


def test_auto_is_numpy_where_compiled_code_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: engine.Engine, *_: object) -> None:
        raise OSError(28, "No space left on device")

    plan = golden_plan("pair")
    monkeypatch.setattr(engines, "PAYS", 20)
    monkeypatch.setattr(engine.Engine, "tape", broken)
    inputs, labels = _samples(plan, 12, 4)
    want, got = Emulator(plan, 4, engine="numpy"), Emulator(plan, 4)
    for machine in (want, got):
        machine.learn_many(inputs, labels)
        machine.learn({name: x[0] for name, x in inputs.items()}, labels[0])
    assert np.array_equal(want.state, got.state)
    assert (got.ran, got.engine) == ("numpy", "numpy") and "No space left on device" in got.instead
    with pytest.raises(SynapccError, match=r"compiled code cannot be loaded: OSError .*No space left"):
        Emulator(plan, 4, engine="compiled").learn_many(inputs, labels)


@pytest.mark.parametrize("harm", ("py", "nbi", "nbc", "folder"))
def test_a_broken_cache_is_made_again(harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synapcc.host.engine import jit

    monkeypatch.setattr(jit, "folder", lambda: tmp_path / "engine")
    tiny = jit.Source("tiny", TINY)
    for _ in range(2):
        monkeypatch.setattr(jit, "_loaded", {})
        assert tiny.entry()(1) == 2
    assert tiny.compiled
    if harm == "folder":
        shutil.rmtree(tiny.path.parent)
    for path in tiny.path.parent.rglob(f"*.{harm}"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if harm == "nbc" else 0])
    for _ in range(2):
        monkeypatch.setattr(jit, "_loaded", {})
        assert tiny.entry()(1) == 2
    assert tiny.path.read_text() == TINY


def test_who_has_no_home_has_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    from synapcc.host.engine import jit

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    found = jit.folder.__wrapped__()
    assert found.is_dir()
    found.rmdir()


def test_a_body_in_another_file_is_compiled_anew_when_it_changes(tmp_path: Path) -> None:
    """Of an installed package: what a form calls, and numbers that it reads."""
    from synapcc.host.engine import jit

    def mark(form: str, factor: int) -> str:
        name = f"body_{len(marks)}"
        path = tmp_path / f"{name}.py"
        path.write_text(f"FACTOR = {factor}\n\n\ndef body(y):\n    y[0] = {form} * FACTOR\n")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        own = Loop(_greedy, otherwise=Loop(module.body))
        return jit._mark(type("Own", (), {"loop": own, "__module__": __name__})())

    marks: list[str] = []
    for form, factor in (("2", 3), ("2", 3), ("4", 3)):
        marks.append(mark(form, factor))
    assert marks[0] == marks[1] != marks[2]
    assert " SUMS=2" in jit._origin(_reads)
    names = {path.name for path in jit._sources()}
    assert {"messages.py", "checksum.py", "_loops.py", "jit.py"} <= names


def _reads() -> int:
    return SUMS


# -- memory, labels, what is not read --------------------------------------------------------------------


def test_memory_is_written_into_and_not_replaced() -> None:
    machine = Emulator(golden_plan("pair"), 2)
    for block in ("state", "arena", "infer_arena"):
        with pytest.raises(AttributeError, match="no setter"):
            setattr(machine, block, getattr(machine, block).copy())


def test_a_wrong_label_is_told_where_the_user_gave_it() -> None:
    plan = golden_plan("pair")
    machine = Emulator(plan, 2)
    inputs, _ = _samples(plan, 3, 2)
    active = np.array([[False, False], [True, True], [True, True]])
    with pytest.raises(SynapccError, match=r"label\[2\]\[1\] is 9"):
        machine.learn_many(inputs, np.array([[0, 0], [0, 0], [0, 9]]), active)
    with pytest.raises(SynapccError, match=r"label\[2\] is 9"):
        machine.learn_many(inputs, np.array([0, 0, 9]), active)
    machine.learn_many(inputs, np.array([9, 0, 0]), active)


@pytest.mark.parametrize("chosen", BOTH)
def test_what_takes_no_part_is_not_read(chosen: str) -> None:
    """NaN beside shorter recordings changes nothing, and is counted nowhere."""
    plan = golden_plan("pair")
    inputs, labels = _samples(plan, 4, 2)
    active = np.array([[True, True], [True, False], [False, True], [False, False]])
    machines = [Emulator(plan, 2, engine=chosen) for _ in range(2)]
    for machine, filled in zip(machines, (0.0, np.nan), strict=True):
        given = {name: x.astype(np.float32) / 64 for name, x in inputs.items()}
        for x in given.values():
            x[~active] = filled
        machine.learn_many(given, labels, active)
        for name, x in given.items():
            assert machine.clipping.values[name] == x[active].size
        machine.learn_many(given, labels, np.zeros((4, 2), bool))
    assert np.array_equal(machines[0].state, machines[1].state)
    with pytest.raises(SynapccError, match="has shape"):
        short = {name: x[..., 1:] for name, x in inputs.items()}
        machines[0].learn_many(short, labels, np.zeros((4, 2), bool))


def test_what_a_frozen_front_said_is_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_cache, "ROOM", 4000)
    plan = golden_plan("pair")
    fixed = FixedPart(plan)
    assert len(fixed)
    want, got = Emulator(plan, 5, engine="numpy"), Emulator(plan, 5, fixed=fixed, engine="numpy")
    pool, _ = _samples(plan, 40, 5)
    rng = np.random.default_rng(2)
    for _ in range(60):
        x = {name: values[rng.integers(40)] for name, values in pool.items()}
        assert np.array_equal(want.infer(x).scores, got.infer(x).scores)
        assert max(fixed._known.size, fixed._blocks.size) <= 4000
    assert min(len(fixed._known), len(fixed._blocks)) > 1


# -- the bench -------------------------------------------------------------------------------------------


def test_a_peak_is_that_of_the_cores_that_a_row_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(n * roofline.size(n) <= roofline.TOGETHER for n in (1, 8, 64, 256))
    assert roofline.size(1) == roofline.COPIED
    monkeypatch.setattr(engine, "cores", lambda: 4)
    monkeypatch.setattr(roofline, "peaks", lambda cores: {"macs": 1e9 * cores, "bytes": 1e9 * cores})
    report = bench.bench_emulator([("a pair", golden_plan("pair"), (1, 3, 6))], 30)
    assert [r["peaks"]["macs"] for r in report["rows"]] == [1e9, 3e9, 4e9]
    assert report["peaks"]["macs"] == 4e9
