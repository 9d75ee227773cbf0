"""The emitted C as a reader and a build system meet it: its layout, and what may stand beside it."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_layout import faults
from ctools import STRICT, run
from head_nets import OLD, perceptron, samples
from one_step import batch_plan, cases
from random_nets import ANY, accepted

from synapcc.gen.compile import compile_model
from synapcc.gen.emit import render, render_library
from synapcc.gen.emit.layout import parse, printed
from synapcc.gen.emit.once import without_single_loops
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ops import kernels
from synapcc.gen.rules import rules
from synapcc.gen.sets import DSP, MVE, REF
from synapcc.gen.spec import Replay, RuleSpec, Store


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    """Random models, and every kernel several times with operands anywhere."""
    rng = np.random.default_rng(11)
    every = [batch_plan(f"every{i}", cases(rng, 6), rng)[0] for i in range(2)]
    return [*(c.plan for c, _ in accepted(ANY, 20)), *every]


def library(plan: Plan, kernels: str) -> dict[str, str]:
    return render_library(plan, "synapcc compile" + 20 * " a.onnx", "a test", {}, kernels)


LONG = [pytest.param(s, marks=pytest.mark.long) for s in (REF, MVE)]


@pytest.mark.parametrize("kernel_set", [*LONG, DSP])
def test_the_layout_is_that_of_one_hand(plans: list[Plan], kernel_set: str) -> None:
    assert {s.kernel for p in plans for _, _, s in p.ops()} == set(kernels())
    for plan in plans:
        files = library(plan, kernel_set)
        for file, content in render(plan, None, "a test", quantiser=True).items():
            if file.endswith(".h"):
                files[file] = content.decode()
        for file, text in files.items():
            assert faults(text) == [], f"{plan.model}: {file}"


def with_names(graph: Graph, longest: int) -> Graph:
    """The same network, whose names and those of its layers and tensors are that long."""
    called = {n: n + "_" * (longest - len(n)) for n in (*graph.tensors, *(n.name for n in graph.nodes))}
    nodes = [
        replace(n, name=called[n.name], inputs=tuple(called[i] for i in n.inputs), output=called[n.output])
        for n in graph.nodes
    ]
    tensors = {called[n]: replace(t, name=called[n]) for n, t in graph.tensors.items()}
    inputs, output = tuple(called[i] for i in graph.inputs), called[graph.output]
    return Graph("n" * longest, inputs, output, tensors, tuple(nodes))


@pytest.mark.parametrize("longest", [8, 19, 30])
@pytest.mark.parametrize("rule", sorted(rules()))
def test_names_of_any_usual_length_fit_the_lines(rule: str, longest: int) -> None:
    graph = with_names(perceptron(OLD, 3), longest)
    data = samples(60, OLD, 1)
    spec = RuleSpec(rule, replay=Replay(4), store=Store(4) if longest > 20 else None)
    plan = compile_model(graph, spec, {graph.inputs[0]: data["x"], "label": data["label"]}).plan
    for file, text in library(plan, REF).items():
        assert faults(text) == [], file


def test_the_check_finds_faults() -> None:
    good = "static void f(void)\n{\n    for (uint32_t i = 0u; i < 4u; i++) {\n        g(i);\n    }\n}\n"
    assert faults(good) == []
    for bad in (
        good.replace("        g", "      g"),
        good.replace("g(i);", "g(i); "),
        good.replace("g(i);", "g(i); g(i);"),
        good.replace("4u", "1u"),
        good.replace("i++", "i += 4u"),
        good.replace(" {\n        g(i);\n    }", "\n        g(i);"),
        good.replace("g(i);", "g(i);\n\n\n        g(i);"),
        good.replace("g(i)", f"g({'i + ' * 40}i)"),
        good.replace("    }\n}", "    }\n\n}"),
        good.rstrip(),
    ):
        assert faults(bad), bad


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("for (uint32_t i = 0u; i < 1u; i++) y[i] = x[i * 4u + 2u] + 1;", "y[0] = x[2] + 1;"),
        ("for (int32_t i = 1; i < 2; i++) { if (z[i] > b) w = i; }", "if (z[1] > b) {\n    w = 1;\n}"),
        (
            "for (uint32_t i = 0u; i < 1u; i++, w += 8) { if (d[i] == 0) continue; /* idle */ f(w); }",
            "/* idle */\nif (d[0] != 0) {\n    f(w);\n}",
        ),
        (
            "for (uint32_t k = 0u; k < 1u; k++, w += 8) f(w); g(w);",
            "f(w);\nw += 8;\ng(w);",
        ),
        (
            "for (uint32_t j = 0u; j < 9u; j++) for (uint32_t k = 0u; k < 1u; k++, w += 8) f(w);",
            "for (uint32_t j = 0u; j < 9u; j++) {\n    f(w);\n    w += 8;\n}",
        ),
        (
            "uint32_t i = 0u; for (; i < 4u; i += 4u) f(i); for (; i < 5u; i++) g(i);",
            "uint32_t i = 0u;\nf(i);\ni += 4u;\ng(i);",
        ),
        ("uint32_t o = 0u, s = 0u; for (; o < 1u; o++) s += v; f(s);", "uint32_t s = 0u;\ns += v;\nf(s);"),
        ("for (uint32_t i = 0u; i < 2u; i++) f();", "for (uint32_t i = 0u; i < 2u; i++) {\n    f();\n}"),
        ("uint32_t i = n; for (; i < 1u; i++) f(i);", "uint32_t i = n;\nfor (; i < 1u; i++) {\n    f(i);\n}"),
        ("for (int32_t i = 1; i < 1; i++) f(i); g();", "g();"),
        (
            "for (uint32_t i = 0u; i < 1u; i++) "
            "for (uint32_t j = 0u; j < 2u; j++) { if (a) continue; f(i); }",
            "for (uint32_t j = 0u; j < 2u; j++) {\n    if (a) {\n        continue;\n    }\n    f(0u);\n}",
        ),
        (
            "for (uint32_t k = 0u; k < 1u; k++) { const uint32_t iy = oy + k * 2u; f(&x[iy * 9u + from]); }",
            "const uint32_t iy = oy;\nf(&x[iy * 9u + from]);",
        ),
        (
            "for (uint32_t o = 0u; o < 1u; o++) for (uint32_t k = 0u; k < 1u; k++) "
            "{ const uint32_t iy = o * 3u + k; f(&x[iy * 9u + from]); }",
            "f(&x[from]);",
        ),
        (
            "for (uint32_t k = 0u; k < 1u; k++) { const uint32_t iy = k; if (iy < n) { f(iy); } }",
            "const uint32_t iy = 0u;\nif (iy < n) {\n    f(iy);\n}",
        ),
        (
            "uint32_t o = 0u, s = 0u; for (; o < 8u; o += 8u, w += 4) { y[o] = a; y[o + 1u] = s++; } g(s);",
            "uint32_t s = 0u;\ny[0] = a;\ny[1] = s++;\ng(s);",
        ),
        ("for (uint32_t j = 0u; j < 1u; j++) f(j & 1u);", "const uint32_t j = 0u;\nf(j & 1u);"),
    ],
)
def test_a_loop_that_runs_once_is_its_body(text: str, want: str) -> None:
    assert "\n".join(printed(without_single_loops(parse(text)), 0)) == want


def test_a_brace_too_few_or_too_many_is_told() -> None:
    for text in ("if (a) {", "f(;", "f(); }"):
        with pytest.raises(ValueError):
            parse(text)


def some(plans: list[Plan]) -> list[Plan]:
    return [*plans[:3], plans[-1]]


LATER = [pytest.param(t, marks=pytest.mark.long) for t in ("gcc", "zig", "arm")]


@pytest.mark.parametrize("compiler", ["g++", *LATER])
def test_models_of_both_sets_share_a_translation_unit(
    compiler: str, plans: list[Plan], tmp_path: Path
) -> None:
    """In C and in C++, and what each leaves behind does not change what comes after it. What optimising warns
    of, tests/gen/ops/test_kernels.py and test_emitted_c.py look at."""
    sources = []
    for i, plan in enumerate(some(plans)):
        for file, text in library(plan, (DSP, REF)[i % 2]).items():
            (tmp_path / file).write_text(text)
        sources.append(f'#include "{plan.model}.c"')
    sources += [
        f"#ifdef {plan.model.upper()}_ALIGNED\n#error it is left behind\n#endif" for plan in some(plans)
    ]
    cpp = compiler in ("g++", "zig")
    unit = tmp_path / ("all.cpp" if cpp else "all.c")
    unit.write_text("\n".join(sources) + "\n")
    warnings = ["-Wall", "-Wextra", "-Werror", "-O0", "-c", unit, "-o", tmp_path / "all.o"]
    if compiler == "zig":
        pytest.importorskip("ziglang", reason="zig is not installed: pip install ziglang")
        run([sys.executable, "-m", "ziglang", "c++", "-std=c++17", *warnings])
        return
    tool = {"arm": "arm-none-eabi-gcc"}.get(compiler, compiler)
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    for standard in ("c++11", "c++17") if cpp else ("c99",):
        machine = ["-mcpu=cortex-m4", "-mthumb"] if compiler == "arm" else []
        run([tool, *machine, f"-std={standard}", *warnings, *(() if cpp else STRICT)])


def test_inputs_have_the_networks_shape(plans: list[Plan]) -> None:
    seen = set()
    for plan in plans:
        header = library(plan, REF)[f"{plan.model}.h"]
        for name, shape in zip(plan.inputs, plan.input_shapes, strict=True):
            assert f"    int8_t {name}{''.join(f'[{n}]' for n in shape)}; /* Q" in header
            assert int(np.prod(shape)) == plan[name].count
            seen.add(len(shape))
    assert seen >= {1, 2, 3}


def test_q_is_said_of_scaled_numbers_alone(plans: list[Plan]) -> None:
    plain = ("index", "counter", "flag", "label", "shift", "verdict", "scratch", "factor", "kept")
    for plan in plans[:-2]:
        roles = {t.name: t.role for t in plan.tensors}
        for kernel_set in (REF, DSP):
            header = library(plan, kernel_set)[f"{plan.model}.h"]
            rows = dict(re.findall(r"^ \* (?:constant|state|arena) .* B  (\w+) +(.*)$", header, flags=re.M))
            assert {t.name for t in (*plan.space("state"), *plan.space("arena"))} <= rows.keys()
            for name, text in rows.items():
                role = roles.get(name.removesuffix("_init"), "counter")  # what is not the Plan's is packed
                assert ("Q" in text) == (role not in plain), f"{name} {text}"
