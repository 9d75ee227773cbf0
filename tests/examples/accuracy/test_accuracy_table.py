"""The table of accuracy: its arithmetic, its text, and a tiny run that needs no data."""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import mlp

from synapcc.examples.accuracy import __main__ as command
from synapcc.examples.accuracy import networks, table
from synapcc.examples.accuracy.networks import NETWORKS, Network, Samples, spread
from synapcc.examples.accuracy.table import Count, Row
from synapcc.gen.errors import SynapccError


def row(ours: int, theirs: int, n: int = 1000, right: int = 900, floats: int = 900) -> Row:
    ort = {"MinMax QInt8": Count(theirs - 1, 0), "Entropy QInt8": Count(theirs, right)}
    return Row("net", n, floats, {"fast": Count(ours, right)}, ort, True)


def test_the_standard_error_is_that_of_a_share() -> None:
    assert table.standard_error(900, 1000) == pytest.approx(math.sqrt(0.9 * 0.1 / 1000))
    assert table.standard_error(10, 10) == 0 and table.standard_error(0, 10) == 0


@given(st.integers(1, 5000), st.data())
def test_the_standard_error_is_the_spread_of_the_mean(n: int, draw: st.DataObject) -> None:
    hits = draw.draw(st.integers(0, n))
    outcomes = np.arange(n) < hits
    assert table.standard_error(hits, n) == pytest.approx(outcomes.std() / np.sqrt(n), abs=1e-12)


def test_level_is_one_standard_error_below_the_best_of_onnxruntime() -> None:
    # 990 of 1000: the standard error is 3.146 samples.
    assert row(990, 990).rival == "Entropy QInt8"
    assert row(987, 990).level("fast") and not row(986, 990).level("fast")
    # Where onnxruntime never errs there is no error of the share.
    assert row(1000, 1000).level("fast") and not row(999, 1000).level("fast")


def test_a_tenth_of_a_point_is_counted_in_samples() -> None:
    assert row(0, 2, right=899).close("fast") and not row(0, 2, right=898).close("fast")
    assert row(0, 2, right=899).below("fast") == pytest.approx(0.1)
    assert row(0, 2, n=10_000, right=9000, floats=9010).close("fast")
    assert not row(0, 2, n=10_000, right=9000, floats=9011).close("fast")


def test_the_text_has_each_row_and_counts_them() -> None:
    text = table.text([row(987, 990, right=899), row(986, 990, right=898)], "1.2.3")
    assert "| net | 1,000 | 98.70 | 99.00 | 0.31 | Entropy QInt8 | yes |" in text
    assert "| net | 1,000 | 98.60 | 99.00 | 0.31 | Entropy QInt8 | **no** |" in text
    assert "| net | 90.00 | 89.80 | 89.80 | +0.20 |" in text
    assert "Level with onnxruntime: `fast` on 1 of 2 networks." in text
    assert "At most 0.1 points below float on images: `fast` on 1 of 2 networks." in text
    assert "onnxruntime 1.2.3" in text and "`best`" not in text
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) <= 1


def test_a_second_way_has_columns_of_its_own() -> None:
    two = row(986, 990)
    two.ours["best"] = Count(995, 901)
    text = table.text([two], "1")
    assert "| net | 1,000 | 98.60 | 99.50 | 99.00 | 0.31 | Entropy QInt8 | **no** | yes |" in text
    assert "`fast` on 0 of 1 networks, `best` on 1 of 1 networks" in text


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_samples_are_spread_evenly(count: int, most: int) -> None:
    chosen = spread(count, most)
    assert len(chosen) == min(count, most) and chosen[0] == 0 and chosen[-1] < count
    steps = np.diff(chosen)
    assert not len(steps) or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_there_are_twelve_networks_and_a_name_that_is_none_is_told() -> None:
    assert len(NETWORKS) == 12 and sum(n.images for n in NETWORKS.values()) == 6
    assert all(n.path.is_file() and n.path.stem == name for name, n in NETWORKS.items())
    assert [n.name for n in networks.named(["mnist_mlp", "ecg_cnn"])] == ["ecg_cnn", "mnist_mlp"]
    with pytest.raises(SynapccError, match="is none of the networks"):
        networks.named(["mnist"])


# ---- a run ---------------------------------------------------------------------------------------------


def tiny(folder: Path) -> tuple[Network, Samples]:
    """A perceptron 6-8-3 on random samples, labelled at random."""
    path = folder / "tiny.onnx"
    onnx.save(mlp([6, 8, 3]), path)
    name = onnx.load(path).graph.input[0].name
    x = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 3, 200).astype(np.uint8)
    samples = Samples({name: x[:100]}, {name: x[100:]}, labels)
    return Network("tiny", path, lambda most: samples, False), samples


def test_a_run_counts_every_way_and_keeps_what_it_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    from synapcc.examples.accuracy import measure, ort

    network, samples = tiny(tmp_path)
    first = measure.measure(network, samples, tmp_path / "kept", lambda text: None)
    assert set(first.ort) == set(ort.WAYS) and tuple(first.ours) == measure.ways() and first.n == 200
    assert all(c.agree > 160 for c in (*first.ours.values(), *first.ort.values()))
    floats = ort.classes(network.path, samples.inputs)
    assert first.floats == int(np.sum(floats == samples.labels))

    def never(*_: object) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr(ort, "quantised", never)
    monkeypatch.setattr(measure, "classify", never)
    assert measure.measure(network, samples, tmp_path / "kept", lambda text: None) == first
    other = Samples(samples.calibration, samples.inputs, (samples.labels + 1).astype(np.uint8) % 3)
    with pytest.raises(AssertionError, match="counted again"):
        measure.measure(network, other, tmp_path / "kept", lambda text: None)


def test_what_broke_off_is_not_lost_and_what_is_no_count_is_counted_again(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from synapcc.examples.accuracy.measure import Kept

    path = tmp_path / "new" / "net.json"
    assert Kept(path).get("a", lambda: Count(1, 2)) == Count(1, 2)
    assert Kept(path).get("a", lambda: Count(9, 9)) == Count(1, 2)
    assert json.loads(path.read_text()) == {"a": {"agree": 1, "right": 2}}
    for broken in ('{"a": {"agree": "1"}}', '{"a": 3}', '{"a": {"agree": 1, "right": true}}'):
        path.write_text(broken)
        assert Kept(path).get("a", lambda: Count(5, 6)) == Count(5, 6), broken


def test_the_command_prints_and_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    network, _ = tiny(tmp_path)
    monkeypatch.setattr(networks, "NETWORKS", {"tiny": network})
    page = tmp_path / "page.md"
    words = [str(page), "--networks", "tiny", "--samples", "200", "--kept", str(tmp_path / "kept")]
    assert command.main(words) == 0
    shown = capsys.readouterr()
    assert shown.out == page.read_text() and "| tiny | 200 |" in shown.out
    assert "tiny: fast" in shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--networks", "mnist"], "mnist: is none of the networks"),
        (["--samples", "10"], "--samples: is 10; give 100 or more"),
        (["no/such/page.md"], "there is no folder no/such"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(words) == 2
    told = capsys.readouterr()
    assert said in told.err and told.err.count("\n") == 1 and not told.out
