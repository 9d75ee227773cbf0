"""synapcc bench --shapes: our instructions beside a peer's, and files that are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from synapcc.gen.errors import SynapccError
from synapcc.host.bench.shapes import Shape, bench_shapes, read_shapes, text
from synapcc.host.cli import main

FILE = 'kernel,macs,m4,m55\n"dense 10 4",40,435,237\nsoftmax 10,,,9\nfold 3,,7,7\n"dense 7 7",49,900,\n'
COUNTS = {"dense 10 4": 435, "softmax 10": 600, "dense 7 7": 300}
OPTIONS: dict[str, Any] = {"board": "mps2_an386", "weights": "int8"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "peer.csv"
    path.write_text(FILE)
    return path


def measured(kernel: str, device: str, **options: Any) -> dict[str, Any]:
    """What bench_kernel would say, of the counts above."""
    assert (device, options) == ("unicorn", OPTIONS)
    if kernel not in COUNTS:
        raise SynapccError("--kernel", f"there is no kernel {kernel!r}", "")
    return {"kernels": "dsp", "total": {"infer": {"macs": 0, "instructions": COUNTS[kernel]}}}


def test_the_column_is_that_of_the_core(file: Path) -> None:
    found = read_shapes(file, "cortex-m55")
    assert found == [
        Shape("dense 10 4", 237),
        Shape("softmax 10", 9),
        Shape("fold 3", 7),
        Shape("dense 7 7", None),
    ]
    assert [s.peer for s in read_shapes(file, "cortex-m4")] == [435, None, 7, 900]


def test_as_many_as_the_peer_is_not_fewer_and_what_cannot_be_counted_is_named(file: Path) -> None:
    report = bench_shapes(file, "unicorn", measured, **OPTIONS)
    assert (report["counted"], report["compared"], report["fewer"]) == (3, 2, 1)
    assert [row["instructions"] for row in report["shapes"]] == [435, 600, None, 300]
    said = text(report)
    assert "1 of 2 need fewer instructions than the peer" in said
    assert "not counted: fold 3: there is no kernel 'fold 3'" in said


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "has no column kernel"),
        ("kernel,m55\nsoftmax 10,3\n", "has no column m4"),
        ("kernel,m4\n", "names no kernel"),
        ("kernel,m4\n,3\n", "row 1 names no kernel"),
        ("kernel,m4\nsoftmax 10,-3\n", "'-3' is no count"),
        ("kernel,m4\nsoftmax 10,0\n", "'0' is no count"),
        ("kernel,m4\nsoftmax 10,1e3\n", "'1e3' is no count"),
        ('kernel,m4\n"softmax 10,3\n', "line 2"),
        ("kernel,m4\nfold 3,7\n", "no kernel could be counted; 'fold 3'"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "peer.csv"
    path.write_text(content)
    with pytest.raises(SynapccError) as refused:
        bench_shapes(path, "unicorn", measured, **OPTIONS)
    assert refused.value.where == str(path)
    assert what in refused.value.what


@pytest.mark.parametrize(
    "words",
    [
        ["--shapes", "FILE", "--kernel", "softmax 10"],
        ["--shapes", "FILE", "--device", "serial:/dev/ttyACM0"],
        ["--shapes", "FILE", "--seed", "3"],
        ["--shapes", "FILE", "--emulator"],
        ["--shapes", "FILE", "--html", "page.html"],
    ],
)
def test_what_does_not_belong_to_it(file: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(file) if word == "FILE" else word for word in words]
    assert main(["bench", *given]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed")
def test_counts_are_those_of_one_kernel_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("kernel,m4\ndense 10 4,435\n")
    assert main(["bench", "--shapes", str(file), "--json", "-"]) == 0
    row = json.loads(capsys.readouterr().out)["shapes"][0]
    assert main(["bench", "--kernel", "dense 10 4", "--json", "-"]) == 0
    alone = json.loads(capsys.readouterr().out)["total"]["infer"]
    assert (row["macs"], row["instructions"]) == (alone["macs"], alone["instructions"])
