"""compile --package and --role: what they write, say and refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from packaged import sketch_compiles
from projects import Case, case, listing, refusal

from synapcc.gen.emit import PACKAGES
from synapcc.host.cli import main
from synapcc.host.run.plans import read_plan
from synapcc.host.run.samples import from_arrays

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("files"), more="[store]\nsamples = 4\n")


def test_one_command_to_a_sketch_that_compiles(files: Case, tmp_path: Path) -> None:
    """Its samples are the calibration data's, as the chip takes them, with their classes."""
    out = tmp_path / "out"
    assert main(files.words(out, "--package", "arduino")) == 0
    sketch = out / "lib" / "net" / "examples" / "Learn"
    plan = read_plan(out)
    with np.load(files.data) as arrays:
        samples = from_arrays(plan, dict(arrays), "data", labels=True)
    text = (sketch / "example-samples.h").read_text()
    at = np.arange(16) * len(samples) // 16
    rows = [", ".join(map(str, samples.inputs["input"][i].tolist())) for i in at]
    assert [row for row in rows if f"{{ {row} }}," not in text] == []
    assert samples.labels is not None
    assert f"= {{ {'u, '.join(str(samples.labels[i]) for i in at)}u }};" in text
    sketch_compiles(out / "lib" / "net", tmp_path)


def test_several_kinds_by_commas_and_by_repetition(files: Case, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(files.words(one, "--package", "zephyr,cmake", "--package", "esp-idf")) == 0
    assert main(files.words(two, "--package", "esp-idf", "--package", "cmake,zephyr,cmake")) == 0
    assert listing(one) == listing(two)
    for path in sorted(listing(one)):
        if (one / path).is_file():
            assert (one / path).read_bytes() == (two / path).read_bytes(), path
    header = (one / "lib" / "net" / "src" / "net.h").read_text()
    assert "--package cmake,zephyr,esp-idf\n" in header


def test_what_is_refused_leaves_nothing(files: Case, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "out"
    said = refusal(files.words(out, "--package", "cmake,keil"), capsys)
    assert said == f"--package: there is no package 'keil'; packages: {', '.join(PACKAGES)}"
    said = refusal(files.words(out, "--package", "arduino", "--name", "wire"), capsys)
    assert said == "wire: arduino has something else of the name wire; choose another one: --name NAME"
    said = refusal(files.words(out, "--package", "arduino", "--name", "Wire!"), capsys)
    assert said.startswith("wire: arduino has something else")
    assert main(files.words(tmp_path / "other", "--package", "cmsis-pack", "--name", "int" + "!" * 30)) == 0
    assert (tmp_path / "other" / "lib" / "net_int" / "synapcc.net_int.pdsc").is_file()
    said = refusal(files.words(out, "--package", "cmsis-pack", "--name", "n" * 33), capsys)
    assert "takes names of 2 to 32 characters, this one has 33" in said
    model = files.model.rename(tmp_path / "freertos.onnx")  # the name is the file's
    try:
        words = ["compile", str(model), *files.words(out, "--package", "esp-idf")[2:]]
        assert "esp-idf has something else of the name freertos" in refusal(words, capsys)
        assert main([*words[:-2], "--package", "cmake"]) == 0
    finally:
        model.rename(files.model)


def test_role_infer_says_what_it_saves(files: Case, tmp_path: Path, capsys: Capsys) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert main(files.words(whole)) == 0
    capsys.readouterr()
    assert main(files.words(out, "--role", "infer", "--package", "cmake")) == 0
    said = capsys.readouterr().out
    (line,) = re.findall(
        r"of this library, infer only: flash (\d+) B .* RAM (\d+) B state .* \+ (\d+) B arena", said
    )
    report = json.loads((out / "report.json").read_text())
    small, all_of_it = report["infer_only"], report["memory"]
    assert list(map(int, line)) == [
        small["constants"] + small["initial_state"],
        small["state"],
        small["arena"],
    ]
    page, other = ((folder / "report.html").read_text() for folder in (out, whole))
    ram = sum(small[k] for k in ("state", "arena", "infer_arena", "run"))
    said_there = re.findall(r"<strong>inference alone</strong>: ([\d,]+) bytes.* ([\d,]+) bytes", page)
    assert said_there == [(f"{small['constants'] + small['initial_state']:,}", f"{ram:,}")]
    assert "inference alone" not in other
    assert small["state"] < all_of_it["state"] and small["arena"] < all_of_it["arena"]
    assert small["of_which_samples"] == 0 < all_of_it["of_which_samples"]
    assert (out / "plan.json").read_bytes() == (whole / "plan.json").read_bytes()
    assert "without learning there is no firmware" in said and not (out / "src").exists()
    assert "infer_only" not in json.loads((whole / "report.json").read_text())
    assert "library only" in refusal(["build", str(out)], capsys)


def test_it_is_the_small_library_that_must_fit(tmp_path: Path, capsys: Capsys) -> None:
    files = case(tmp_path / "files", more="[store]\nsamples = 4000\n")
    board = ("--board", "generic", "--core", "cortex-m0", "--flash", "32K", "--ram", "8K")
    assert "bytes of RAM, generic has 8192" in refusal(files.words(tmp_path / "whole", *board), capsys)
    assert main(files.words(tmp_path / "out", *board, "--role", "infer")) == 0


def test_role_infer_of_what_learns_nothing(tmp_path: Path, capsys: Capsys) -> None:
    files = case(tmp_path / "files", "none")
    said = refusal(files.words(tmp_path / "out", "--role", "infer"), capsys)
    assert said.startswith("net: infer reads nothing that is learned") and not (tmp_path / "out").exists()
