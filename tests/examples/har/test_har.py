"""The watch example: windows, features, a pickle that can do nothing, files for commands, and the demo."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from watch import recordings

from synapcc.examples.har import data, demo, features, files
from synapcc.examples.har.data import DataError, Recording
from synapcc.gen.compile import compile_model
from synapcc.gen.importers import load_model
from synapcc.host.cli import main
from synapcc.host.sweep.plan import read_sweep

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load", lambda: recordings())
    monkeypatch.setattr(data, "find", lambda download=True: Path("synthetic"))


def test_windows_of_both_parts_share_no_sample() -> None:
    signal = np.arange(24 * data.FS, dtype=np.float32)[:, None] * np.ones(6, np.float32)
    whole = [Recording("1", 3, signal)]
    learn, test = features.split(whole)
    least, most = slice(2 * 6, 3 * 6), slice(3 * 6, 4 * 6)
    assert learn.features[:, most].max() < 6 * data.FS <= test.features[:, least].min()
    assert (len(learn), len(test)) == (5, 17)
    assert len(features.windows(whole)) == 23
    assert set(learn.label.tolist()) == {3} and set(test.wearer.tolist()) == {"1"}


def test_features_are_what_they_are_called() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (3, features.LENGTH, 6)).astype(np.float32)
    x[0, :, 1] = 5 * x[0, :, 0] + 1
    x[1, :, 2] = 2.0  # stands still
    got = features.features(x)
    assert got.shape == (3, features.FEATURES) and got.dtype == np.float32 and np.isfinite(got).all()
    assert got[:, :6] == pytest.approx(x.mean(1), abs=1e-5)
    assert got[:, 6:12] == pytest.approx(x.std(1), abs=1e-5)
    assert got[:, 48:54] == pytest.approx(np.median(x, axis=1), abs=1e-5)
    assert got[0, 60] == pytest.approx(1) and got[1, 61] == got[1, 62] == 0
    assert got[:, 63] == pytest.approx(np.linalg.norm(x[..., :3], axis=2).std(1), abs=1e-5)


def test_a_recording_shorter_than_a_window_has_none() -> None:
    short = Recording("1", 0, np.zeros((features.LENGTH - 1, 6), np.float32))
    assert len(features.windows([short, *recordings(("1",))])) == 7 * 23


def wheel(path: Path, content: object) -> Path:
    """A wheel as the real one is made: a pickled array of one object."""
    holder = np.empty((), object)
    holder[()] = content
    plain = io.BytesIO()
    np.save(plain, holder, allow_pickle=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(data.MEMBER, plain.getvalue())
    return path


def content() -> dict[str, object]:
    parts = recordings()
    return {
        "X": [r.signal.astype(np.float64) for r in parts],
        "y": np.array([r.exercise for r in parts]),
        "subject": np.array([int(r.wearer) for r in parts]),
        "side": np.ones(len(parts)),
        "X_labels": list(data.AXES),
        "y_labels": list(data.EXERCISES),
    }


def test_a_wheel_is_read(tmp_path: Path) -> None:
    got = data.read(wheel(tmp_path / data.WHEEL, content()))
    for mine, theirs in zip(got, recordings(), strict=True):
        assert (mine.wearer, mine.exercise) == (theirs.wearer, theirs.exercise)
        assert np.array_equal(mine.signal, theirs.signal)


class Bomb:
    """What does something when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("exploded"),)  # type: ignore[return-value]


def test_a_pickle_that_would_do_something_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = wheel(tmp_path / data.WHEEL, content() | {"X": Bomb()})
    with pytest.raises(DataError, match="it asks for "):
        data.read(file)
    assert not Path("exploded").exists()
    pickle.loads(pickle.dumps(Bomb()))
    assert Path("exploded").exists(), "it would have"


@pytest.mark.parametrize("change", [{"X_labels": ["a"] * 6}, {"subject": np.ones(70)}, {"y": np.zeros(3)}])
def test_other_content_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(DataError):
        data.read(wheel(tmp_path / data.WHEEL, content() | change))


def test_another_wheel_is_refused_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNAPCC_DATA", str(tmp_path))
    wheel(tmp_path / data.FOLDER / data.WHEEL, content())
    with pytest.raises(DataError, match="has the SHA-256"):
        data.find()
    monkeypatch.setenv("SYNAPCC_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="no such folder"):
        data.find()


def test_where_it_cannot_be_had_the_command_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.setattr(data, "candidates", lambda: [tmp_path / "x" / data.WHEEL])
    monkeypatch.setattr(data.sys, "executable", "false")
    monkeypatch.delenv("SYNAPCC_DATA", raising=False)
    data.load.cache_clear()
    assert main(["demo", "har", "--html", str(tmp_path / "d.html")]) == 2
    said = capsys.readouterr().err
    assert "pip download --no-deps seglearn==1.2.5" in said and data.CITATION.splitlines()[0] in said
    assert not any(tmp_path.rglob("*.*")), "nothing is left behind"


@pytest.mark.long
def test_networks_never_saw_their_wearer() -> None:
    """What a network takes off its inputs is the mean of the others' windows, and of no other nine."""
    try:
        data.find(download=False)
    except DataError as error:
        pytest.skip(str(error))
    everyone = data.load()
    means = {
        w: features.windows([r for r in everyone if r.wearer != w]).features.mean(0) for w in data.WEARERS
    }
    for wearer in data.WEARERS:
        kept = {
            i.name: numpy_helper.to_array(i) for i in onnx.load(files.model_path(wearer)).graph.initializer
        }
        same = [w for w, mean in means.items() if np.array_equal(mean, kept["mean"])]
        assert same == [wearer]


def test_each_wearer_has_a_network_that_normalises_itself() -> None:
    means = set()
    for wearer in data.WEARERS:
        graph = load_model(files.model_path(wearer))
        assert [graph.tensors[i].shape for i in graph.inputs] == [(features.FEATURES,)]
        means.add(files.model_path(wearer).read_bytes())
    assert len(means) == len(data.WEARERS)


@pytest.mark.parametrize("stream", [False, True])
def test_files_are_a_sweep(stream: bool, synthetic: None, tmp_path: Path) -> None:
    sweep = read_sweep(files.write(tmp_path, stream))
    names = ["label", "octaves", "tilt"] if stream else ["features", "label"]
    assert sorted(sweep.folds, key=int) == sorted(data.WEARERS, key=int) and not sweep.final
    for fold in sweep.folds:
        model, calibration = sweep.paths(fold)
        with np.load(calibration) as arrays:
            assert sorted(arrays) == names and len(arrays["label"]) == files.CALIBRATION
        assert model.is_file()
    with np.load(sweep.learn) as learn, np.load(sweep.test) as test:
        assert set(learn["wearer"]) == set(test["wearer"]) == set(data.WEARERS)
        assert stream or np.bincount(learn["label"]).tolist() == [50] * 7


def test_demo(synthetic: None, tmp_path: Path, capsys: Capsys) -> None:
    page, told = tmp_path / "d.html", tmp_path / "d.json"
    words = ["demo", "har", "--wearer", "3", "--wearer", "7", "--device", "process", "--passes", "3"]
    assert main([*words, "--html", str(page), "--json", str(told)]) == 0
    said, found = capsys.readouterr().out, json.loads(told.read_text())
    assert said.splitlines()[-1] == "demo: 70 learning steps on process, 0 differing bytes"
    none, own = found["rows"]
    plan = compile_model(files.model_path("3"), demo.RULE, files.calibration("3"), None, "har").plan
    from synapcc.host.run.emulator import Emulator

    learn, test = features.split(data.of(recordings(), "3"))
    machine = Emulator(plan)
    for x, label in zip(learn.features, learn.label, strict=True):
        machine.learn({"features": x[None]}, [label])
    for _ in range(2):
        machine.run("rehearse")
    right = np.mean(machine.infer_many({"features": test.features}).winner == test.label)
    assert own["subjects"]["3"]["after"] == pytest.approx(right)
    assert none["subjects"]["3"]["after"] == own["subjects"]["3"]["before"]
    assert "2 wearers" in page.read_text() and "TRAP" in page.read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--wearer", "11"], '--wearer: "11"; wearers: 1, 2, 3'),
        (["--wearer", "3", "--wearer", "3"], "each once"),
        (["--passes", "0"], "--passes: 0 passes"),
        (["--device", "abacus"], '--device: there is no kind "abacus"'),
        (["--rule", "none.toml"], "none.toml: there is no such file"),
    ],
)
def test_demo_refuses(words: list[str], line: str, synthetic: None, capsys: Capsys) -> None:
    assert main(["demo", "har", *words]) == 2
    assert line in capsys.readouterr().err
