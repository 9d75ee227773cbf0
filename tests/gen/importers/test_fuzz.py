"""Damaged model files give a Plan or one clear line: no traceback, no hang, no memory over 1 GB.

The files are tried in a process of their own, which the kernel ends at SECONDS of work or MEMORY bytes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import tried

FUZZERS = ("fuzz_onnx.py", "fuzz_tflite.py")
SHORT, LONG, CHUNK = 500, 20_000, 500  # to start takes as long as 200 files


def assert_all_good(script: str, first: int, last: int) -> None:
    results = dict(tried(script, first, last))
    bad = [f"file {n}: {said}" for n, said in results.items() if said.startswith("FAILED")]
    assert not bad, f"{len(bad)} of {last - first} files\n" + "\n".join(bad[:5])
    assert sorted(results) == list(range(first, last))
    plans = sum(said == "plan" for said in results.values())
    assert 0.05 < plans / (last - first) < 0.5  # most are damaged where it matters, but not all


def test_the_limits_hold() -> None:
    """A file of gigabytes, or of endless work, would be noticed."""
    support = Path(__file__).parents[2] / "support"
    for work, seen in (("bytearray(2 << 30)", "MemoryError"), ("sum(iter(int, 1))", "")):
        code = f"import fuzzing; fuzzing.limit_memory(); fuzzing.limit_cpu(0); {work}"
        run = subprocess.run([sys.executable, "-c", code], cwd=support, capture_output=True, text=True)
        assert run.returncode != 0 and seen in run.stderr


@pytest.mark.parametrize("chunk", range(SHORT // CHUNK))
@pytest.mark.parametrize("script", FUZZERS)
def test_damaged_files(script: str, chunk: int) -> None:
    assert_all_good(script, chunk * CHUNK, (chunk + 1) * CHUNK)


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(8))
@pytest.mark.parametrize("script", FUZZERS)
def test_many_damaged_files(script: str, chunk: int) -> None:
    size = LONG // 8
    assert_all_good(script, SHORT + chunk * size, SHORT + (chunk + 1) * size)
