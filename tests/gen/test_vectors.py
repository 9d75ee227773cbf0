"""docs/NUMERICS.md says what the table says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from synapcc.gen import vectors
from synapcc.gen.ir.quantiser import AffineQuantiser, Quantiser
from synapcc.gen.numeric import NUMERIC_VERSION, PRIMITIVES, multiplier
from synapcc.gen.ops import kernels
from synapcc.gen.ops.softmax_error import error_bound

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "NUMERICS.md").read_text()


def test_the_page_holds_exactly_the_vectors_of_the_table() -> None:
    inside = PAGE.split("<!-- vectors -->\n")[1].split("\n<!-- end of vectors -->")[0]
    printed = subprocess.run(
        [sys.executable, "-m", "synapcc.gen.vectors"], capture_output=True, text=True, check=True
    ).stdout
    assert inside == vectors.text() == printed.rstrip("\n"), (
        "put the output of python -m synapcc.gen.vectors between the marks"
    )


def test_the_vectors_are_in_the_domain_and_differ() -> None:
    for p in PRIMITIVES.values():
        chosen = vectors.arguments_of(p)
        assert len({tuple(a) for a in chosen}) == vectors.EACH
        for arguments in chosen:
            assert all(lo <= a <= hi for a, (_, _, lo, hi) in zip(arguments, p.args, strict=True)), p.name


def test_the_page_names_every_primitive_and_kernel() -> None:
    prose = PAGE.split("## Test vectors")[0]
    assert set(re.findall(r"^\| `([a-z0-9_]+\.[a-z0-9_]+)` \|", prose, flags=re.M)) == set(kernels())
    for name in PRIMITIVES:
        assert f"`{name}(" in prose, f"{name} is not explained"
    assert f"The numeric version is {NUMERIC_VERSION};" in prose


def test_the_page_states_the_softmax_bound() -> None:
    assert error_bound(2) < 0.0004 and error_bound(10) < 0.0007 and "(6 + (classes - 1) / 2) · 2^-14" in PAGE
    assert error_bound(3) == (6 + 2 / 2) * 2.0**-14


def test_the_input_quantiser_is_that_of_the_page() -> None:
    section = PAGE.split("## Input quantiser")[1].split("## Kernels")[0]
    rows = re.findall(r"^\| (-?[\d.]+) \| (-?\d+) \| (-?\d+) \|$", section, flags=re.M)
    assert len(rows) >= 8
    for x, frac, q in rows:
        assert Quantiser.power(int(frac)).integers([float(x)]).tolist() == [int(q)], (x, frac)
    pairs = re.findall(r"^\| (-?[\d.]+) \| (-?[\d.]+) \| (-?[\d.e+-]+) \| (-?\d+) \|$", section, flags=re.M)
    assert len(pairs) >= 6
    for x, offset, scale, q in pairs:
        quantiser = Quantiser.of([float(offset)], [float(scale)])
        assert quantiser.integers([float(x)]).tolist() == [int(q)], (x, offset, scale)
    quotients = re.findall(r"^\| (-?[\d.e]+) / ([\d.]+) \+ (-?\d+) \| (-?\d+) \|$", section, flags=re.M)
    assert len(quotients) >= 8
    for x, scale, zero, q in quotients:
        affine = AffineQuantiser(float(np.float32(scale)), int(zero))
        assert affine.integers([float(x)]).tolist() == [int(q)], (x, scale, zero)


def test_the_multipliers_are_those_of_the_page() -> None:
    section = PAGE.split("## Multipliers")[1].split("## Random numbers")[0]
    rows = re.findall(r"^\| ([\d.e-]+) \| (\d+) \| (\d+) \|$", section, flags=re.M)
    assert len(rows) >= 8
    for factor, m, n in rows:
        assert multiplier(float(factor)) == (int(m), int(n)), factor
