"""Damaged ONNX files give a Plan or one clear line: no traceback, no hang, no memory over 1 GB.

The files are tried in a process of their own, which the kernel ends at SECONDS of work or MEMORY bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2] / "support"
PATHS = os.pathsep.join(str(p) for p in (HERE / "_ns", HERE))
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATHS, "OPENBLAS_NUM_THREADS": "1"}
SHORT, LONG, CHUNK = 500, 20_000, 125


def tried(first: int, last: int) -> Iterator[tuple[int, str]]:
    """What became of the files first .. last - 1; a process that was ended is replaced behind the file."""
    while first < last:
        command = [sys.executable, str(HERE / "fuzz_onnx.py"), str(first), str(last)]
        run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        ended = [line.split(" ", 3) for line in run.stdout.splitlines() if " ends " in line]
        yield from ((int(number), said) for number, _, _, said in ended)
        first = int(ended[-1][0]) + 1 if ended else first
        if run.returncode:
            yield first, f"FAILED the process was ended ({run.returncode}): {run.stderr[-500:]}"
            first += 1


def assert_all_good(first: int, last: int) -> None:
    results = dict(tried(first, last))
    bad = [f"file {n}: {said}" for n, said in results.items() if said.startswith("FAILED")]
    assert not bad, f"{len(bad)} of {last - first} files\n" + "\n".join(bad[:5])
    assert sorted(results) == list(range(first, last))
    plans = sum(said == "plan" for said in results.values())
    assert 0.05 < plans / (last - first) < 0.5  # most are damaged where it matters, but not all


def test_the_limits_hold() -> None:
    """A file of gigabytes, or of endless work, would be noticed."""
    for work, seen in (("bytearray(2 << 30)", "MemoryError"), ("sum(iter(int, 1))", "")):
        code = f"import fuzz_onnx; fuzz_onnx.limit_memory(); fuzz_onnx.limit_cpu(0); {work}"
        run = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
        assert run.returncode != 0 and seen in run.stderr


@pytest.mark.parametrize("chunk", range(SHORT // CHUNK))
def test_damaged_files(chunk: int) -> None:
    assert_all_good(chunk * CHUNK, (chunk + 1) * CHUNK)


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(8))
def test_many_damaged_files(chunk: int) -> None:
    size = LONG // 8
    assert_all_good(SHORT + chunk * size, SHORT + (chunk + 1) * size)
