"""Bad input: one clear line, exit code 2, nothing half-written, whatever is wrong with what a user gives."""

from __future__ import annotations

import errno
import os
import pty
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models as om
import pytest
from projects import Case, arrays, case, compiled, listing, refusal, save, spawn, write_rule

from synapcc.gen.ir.plan import PLAN_VERSION
from synapcc.gen.target.boards import BOARDS
from synapcc.host.cli import main
from synapcc.host.devices import open_device, process
from synapcc.host.devices.process import ProcessDevice
from synapcc.host.link import client
from synapcc.host.terminal import files

Capsys = pytest.CaptureFixture[str]
Edit = Callable[[Case], object]


@pytest.fixture
def good(tmp_path: Path) -> Case:
    return case(tmp_path / "in")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    return compiled(tmp_path_factory.mktemp("project"), more="[store]\nsamples = 4\n")


# ---- compile: models, rule files, calibration, boards -------------------------------------------------


def model(proto: onnx.ModelProto) -> Edit:
    return lambda c: c.model.write_bytes(proto.SerializeToString())


def rule(text: str) -> Edit:
    return lambda c: c.rule.write_text(text)


def calibration(**changed: object) -> Edit:
    return lambda c: save(c.data, {k: v for k, v in {**arrays(), **changed}.items() if v is not None})


def holey(name: str, value: float) -> np.ndarray:
    data = arrays()[name].copy()
    data.flat[5] = value
    return data


def with_weights(value: float) -> onnx.ModelProto:
    proto = om.mlp((12, 8, 3))
    weight = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weight[0, 0] = value
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, proto.graph.initializer[0].name))
    return proto


def unsupported() -> onnx.ModelProto:
    proto = om.mlp((12, 8, 3))
    proto.graph.node[1].op_type = "Tan"
    return proto


def wide_bias() -> onnx.ModelProto:
    proto = om.mlp((12, 8, 3))
    bias = np.full(8, 3e9, np.float32)
    proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(bias, proto.graph.initializer[1].name))
    return proto


def truncated(c: Case) -> None:
    c.model.write_bytes(c.model.read_bytes()[:-40])


def header_that_lies(c: Case) -> None:
    """An array of 2^40 numbers in a file of 100 bytes."""
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 12), }"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    with zipfile.ZipFile(c.data, "w") as archive:
        archive.writestr(
            "input.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + b"1234"
        )


def zip_bomb(c: Case) -> None:
    with (
        zipfile.ZipFile(c.data, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("input.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(2100):
            member.write(bytes(1 << 20))


def flipped(c: Case) -> None:
    np.savez_compressed(c.data, **arrays())  # type: ignore[arg-type]
    raw = bytearray(c.data.read_bytes())
    for i in range(80, 120):
        raw[i] ^= 0xFF
    c.data.write_bytes(raw)


OVER = 'rule = "hebbian"\nweights = "int16"\nrate = "2^-6"\n'
SLOWEST = 'rule = "hebbian"\nweights = "int8"\nrate = "2^-20"\nrounding = "nearest"\n'
EMPTY = {"input": np.zeros((0, 12), np.float32), "label": np.zeros(0)}
BAD_COMPILE: dict[str, tuple[Edit, str]] = {
    "no model": (lambda c: c.model.unlink(), "there is no such file"),
    "model truncated": (truncated, "damaged, truncated or not an ONNX file"),
    "model of noise": (lambda c: c.model.write_bytes(os.urandom(3000)), "damaged, truncated or not"),
    "model empty": (lambda c: c.model.write_bytes(b""), "the file is empty"),
    "operator": (model(unsupported()), "operator Tan is not supported; nearest is Sin and Cos; supported"),
    "NaN in weights": (model(with_weights(np.nan)), "NaN or infinite"),
    "infinite weight": (model(with_weights(-np.inf)), "NaN or infinite"),
    "overflow": (model(wide_bias()), "accumulator could overflow"),
    "no rule": (lambda c: c.rule.unlink(), "there is no such file"),
    "rule is no TOML": (rule("rule = hebbian"), "is no TOML"),
    "rule unknown": (rule('rule = "hebian"'), 'did you mean "hebbian"?'),
    "key unknown": (rule(OVER + "rates = 3\n"), "rate"),
    "layer": (rule(OVER + 'layers = ["fc9"]\n'), 'the network has no layer with weights "fc9"'),
    "rate of a layer": (rule('rule = "last"\n[rate]\nfc9 = "2^-3"\n'), 'no layer with weights "fc9"'),
    "rate": (rule(SLOWEST), "can change nothing"),
    "binary rule": (lambda c: c.rule.write_bytes(b"\xff\xfe\x00"), "is not UTF-8 text"),
    "no calibration": (lambda c: c.data.unlink(), "there is no such file"),
    "calibration is text": (lambda c: c.data.write_text("1, 2, 3"), "cannot be read as .npz"),
    "calibration is .npy": (lambda c: np.save(c.data.open("wb"), np.zeros(3)), "cannot be read as .npz"),
    "calibration damaged": (flipped, "cannot be read as .npz"),
    "calibration pickled": (calibration(input=np.array([{}, {}], object)), "cannot be read as .npz"),
    "header lies": (header_that_lies, "cannot be read as .npz"),
    "bomb": (zip_bomb, "2100 MB of arrays"),
    "empty calibration": (calibration(**EMPTY), "holds no samples"),
    "empty archive": (lambda c: save(c.data, {}), "input input is missing"),
    "NaN": (calibration(input=holey("input", np.nan)), "input has NaN or infinite values"),
    "infinite": (calibration(input=holey("input", np.inf)), "input has NaN or infinite values"),
    "shape": (calibration(input=np.zeros((60, 13), np.float32)), "input has shape (60, 13)"),
    "scalar": (calibration(input=np.float32(1)), "input has shape ()"),
    "texts": (calibration(input=np.full((60, 12), "x")), "input is <U1"),
    "complex": (calibration(input=np.ones((60, 12), complex)), "input is complex128"),
    "label out of range": (calibration(label=np.full(60, 3)), "label[0] is 3; the network has classes"),
    "label negative": (calibration(label=holey("label", -1)), "label[5] is -1"),
    "label NaN": (calibration(label=np.full(60, np.nan)), "label is float64"),
    "label text": (calibration(label=np.full(60, "N")), "label is <U1"),
    "label 2-D": (calibration(label=np.zeros((60, 3))), "label is float64 of shape (60, 3)"),
    "label count": (calibration(label=np.zeros(59, int)), "different numbers of samples"),
    "replay without labels": (
        lambda c: (calibration(label=None)(c), write_rule(c.rule, more="[replay]\nsamples = 5\n")),
        "the calibration data have no labels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_COMPILE)
def test_a_compilation_that_cannot_be(what: str, good: Case, tmp_path: Path, capsys: Capsys) -> None:
    edit, says = BAD_COMPILE[what]
    edit(good)
    before = listing(tmp_path)
    line = refusal(good.words(tmp_path / "new" / "out"), capsys)
    assert says in line, line
    assert listing(tmp_path) == before


def test_huge_numbers_are_compiled_or_refused(good: Case, tmp_path: Path, capsys: Capsys) -> None:
    for scale in (1e-38, 1e-20, 1e20, 3e38):
        calibration(input=(arrays()["input"].clip(-1, 1) * scale).astype(np.float32))(good)
        out = tmp_path / str(scale)
        if main(good.words(out)) == 2:
            assert capsys.readouterr().err.count("\n") == 1 and not out.exists()


def test_what_numpy_calls_numbers_is_calibration(good: Case, tmp_path: Path) -> None:
    for i, dtype in enumerate((np.float16, np.float64, ">f4", np.int16, np.uint16)):
        calibration(
            input=np.abs(arrays()["input"]).astype(dtype), label=arrays()["label"].astype(np.float32)
        )(good)
        assert main(good.words(tmp_path / str(i))) == 0


def test_the_chips_own_integers_are_no_calibration(
    good: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration(input=arrays()["input"].astype(np.int8))(good)
    assert main(good.words(tmp_path / "out")) == 2
    assert "input is int8; give float32" in capsys.readouterr().err


def board(folder: Path, *changes: tuple[str, str]) -> Path:
    text = (BOARDS / "mps2_an386.toml").read_text().replace('name = "mps2_an386"', 'name = "tiny"')
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


FLASH, RAM, STACK = "size = 0x40_0000\nword", "size = 0x40_0000\n\n[link]", "stack = 4096"
BAD_BOARDS = {
    "flash": ([(FLASH, "size = 0x1000\nword")], r"flash, tiny has 4096: \d+ too many; largest: fc1_w"),
    "ram": ([(RAM, "size = 0x1800\n\n[link]")], r"RAM, tiny has 6144: \d+ too many; largest: fc1_weight"),
    "typo": ([("clock_hz", "clock_mhz")], "unknown key `clock_mhz`; did you mean `clock_hz`"),
    "missing": ([("clock_hz = 25_000_000\n", "")], "key `clock_hz` is missing"),
    "text": ([("clock_hz = 25_000_000", 'clock_hz = "fast"')], "it must be a whole number"),
    "core": ([("cortex-m4", "cortex-m5")], "cortex-m5"),
    "hal": ([('hal = "cmsdk"', 'hal = "../cmsdk"')], 'link.hal "../cmsdk" is not there'),
    "no TOML": ([("[core]", "[core")], "is not TOML"),
    "injection": ([('"synapcc" ', '"synapcc\\nextra_scripts = x.py" ')], "is no name"),
    "injection in board": (
        [('platform = "synapcc"', 'platform = "synapcc"\nboard = "x\\nextra_scripts = x.py"')],
        "is no name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_BOARDS)
def test_boards_that_cannot_be(what: str, good: Case, tmp_path: Path, capsys: Capsys) -> None:
    changes, says = BAD_BOARDS[what]
    path = board(tmp_path, *changes)
    before = listing(tmp_path)
    line = refusal(good.words(tmp_path / "out", "--board", str(path)), capsys)
    assert pytest.importorskip("re").search(says, line), line
    assert listing(tmp_path) == before


def test_boards_that_are_not_there(good: Case, tmp_path: Path, capsys: Capsys) -> None:
    assert "did you mean mps2_an386?" in refusal(
        good.words(tmp_path / "out", "--board", "mps2_an368"), capsys
    )
    assert "there is no such file" in refusal(
        good.words(tmp_path / "out", "--board", str(tmp_path / "x.toml")), capsys
    )


def test_a_stack_that_is_too_small_is_told_in_bytes(good: Case, tmp_path: Path, capsys: Capsys) -> None:
    path = board(tmp_path, (STACK, "stack = 256"))
    out = tmp_path / "out"
    assert main(good.words(out, "--board", str(path))) == 0
    line = refusal(["build", str(out)], capsys)
    assert "the stack may need" in line and "keeps 256:" in line and "too few; raise `stack`" in line


def test_ram_that_only_the_linker_sees_to_be_too_small(good: Case, tmp_path: Path, capsys: Capsys) -> None:
    out = tmp_path / "out"
    assert main(good.words(out, "--board", str(board(tmp_path)))) == 0
    described = out / "platforms" / "synapcc" / "boards" / "tiny.json"
    text = described.read_text()
    ram = '"ram": {\n      "origin": 536870912,\n      "size": 4194304'
    assert ram in text
    described.write_text(text.replace(ram, ram.replace("4194304", "6144")))
    line = refusal(["build", str(out)], capsys)
    assert (
        "bytes more RAM than the board has (6144 bytes, 4096 kept for the stack)" in line
        and "largest:" in line
    )


# ---- output -------------------------------------------------------------------------------------------


def test_output_that_exists(good: Case, tmp_path: Path, capsys: Capsys) -> None:
    for out in (tmp_path / "folder", tmp_path / "file"):
        out.mkdir() if out.name == "folder" else out.write_text("kept")
        assert "exists already; choose another folder" in refusal(good.words(out), capsys)
    assert (tmp_path / "file").read_text() == "kept"


def test_output_that_cannot_be_made(good: Case, tmp_path: Path, capsys: Capsys) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(good.words(tmp_path / "file" / "out"), capsys)
    assert "cannot be written" in refusal(good.words(Path("/proc/out")), capsys)
    assert "cannot be written" in refusal(good.words(tmp_path / ("x" * 300)), capsys)
    os.symlink(tmp_path / "nowhere", tmp_path / "link")
    assert "exists already" in refusal(good.words(tmp_path / "link"), capsys)


def test_a_full_disk_leaves_nothing(
    good: Case, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    whole = Path.write_bytes

    def write_bytes(self: Path, data: bytes) -> int:
        written.append(self)
        if len(written) > 7:
            whole(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole(self, data)

    before = listing(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    assert "No space left on device" in refusal(good.words(tmp_path / "a" / "b" / "out"), capsys)
    assert len(written) > 7 and listing(tmp_path) == before


def limited() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))


def test_a_limit_on_files_leaves_nothing(good: Case, tmp_path: Path) -> None:
    before = listing(tmp_path)
    done = spawn(good.words(tmp_path / "out"), preexec_fn=limited)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "File too large" in done.stderr, (
        done.stderr
    )
    assert listing(tmp_path) == before


SLOW = """
import os, sys
from pathlib import Path
whole, seen = Path.write_bytes, []
def write_bytes(self, data):
    seen.append(self)
    if len(seen) == 5:
        print("half", flush=True)
        import time
        time.sleep(60)
    return whole(self, data)
Path.write_bytes = write_bytes
from synapcc.host.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_compilation_leaves_nothing(
    good: Case, tmp_path: Path, number: int, code: int
) -> None:
    before = listing(tmp_path)
    command = [sys.executable, "-c", SLOW, *good.words(tmp_path / "out")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as child:
        assert child.stdout and child.stderr and child.stdout.readline() == "half\n"
        assert listing(tmp_path) != before
        child.send_signal(number)
        said = child.stderr.read()
    assert child.returncode == code and "Traceback" not in said
    assert listing(tmp_path) == before


# ---- data for verify and emulate ----------------------------------------------------------------------

BAD_DATA: dict[str, tuple[dict[str, object], str]] = {
    "no label": ({"label": None}, "label is missing; add an array `label`"),
    "no input": ({"input": None}, "input input is missing; the model's inputs are input; there is label"),
    "shape": ({"input": np.zeros((60, 5), np.float32)}, "shape (60, 5); give [n, 12]"),
    "integers": ({"input": np.zeros((60, 12), np.int16)}, "input is int16; give float32, or int8"),
    "unsigned": ({"input": np.zeros((60, 12), np.uint8)}, "input is uint8; give float32, or int8"),
    "texts": ({"input": np.full((60, 12), "1")}, "input is <U1"),
    "objects": ({"input": np.array([[None] * 12] * 60, object)}, "cannot be read as .npz"),
    "empty": ({"input": np.zeros((0, 12), np.float32), "label": np.zeros(0, int)}, "shape (0, 12)"),
    "scalar": ({"input": np.float32(0)}, "shape ()"),
    "NaN": ({"input": holey("input", np.nan)}, "NaN or infinite values"),
    "label": ({"label": np.full(60, 7)}, "label[0] is 7"),
    "label text": ({"label": np.full(60, "V")}, "label is <U1"),
    "counts": ({"label": np.zeros(7, int)}, "different numbers of samples"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["verify", "emulate"])
@pytest.mark.parametrize("what", BAD_DATA)
def test_data_that_cannot_be(
    what: str, command: str, project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    changed, says = BAD_DATA[what]
    data = save(tmp_path / "data.npz", {k: v for k, v in {**arrays(), **changed}.items() if v is not None})
    more = ["--learn", "-o", str(tmp_path / "r.npz")] if command == "emulate" else ["--device", "process"]
    assert says in refusal([command, str(project[1]), "--data", str(data), *more], capsys)
    assert listing(tmp_path) == {"data.npz"}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.int8])
def test_data_of_any_float_or_of_the_chip(dtype: str, project: tuple[Case, Path], tmp_path: Path) -> None:
    data = save(tmp_path / "data.npz", {**arrays(), "input": arrays()["input"].astype(dtype)})
    assert main(["emulate", str(project[1]), "--data", str(data), "-o", str(tmp_path / "r.npz")]) == 0


def test_numbers_on_the_command_line(project: tuple[Case, Path], tmp_path: Path, capsys: Capsys) -> None:
    c, out = project
    verify = ["verify", str(out), "--data", str(c.data), "--device", "process"]
    assert "--steps: -1 steps; give 0 or more" in refusal([*verify, "--steps", "-1"], capsys)
    emulate = ["emulate", str(out), "--data", str(c.data), "--learn", "-o", str(tmp_path / "r.npz")]
    assert "--passes: 0 passes" in refusal([*emulate, "--passes", "0"], capsys)
    with pytest.raises(SystemExit) as stopped:
        main([*verify, "--steps", "many"])
    assert stopped.value.code == 2


def test_results_that_cannot_be_written(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    c, out = project
    words = ["emulate", str(out), "--data", str(c.data), "-o"]
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    assert "there is no folder" in refusal([*words, str(tmp_path / "none" / "r.npz")], capsys)
    assert "there is no folder" in refusal([*words, str(tmp_path / "file" / "r.npz")], capsys)
    assert "is a folder" in refusal([*words, str(tmp_path / "folder")], capsys)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "replace", full)
    assert "No space left" in refusal([*words, str(tmp_path / "file")], capsys)
    assert listing(tmp_path) == {"file", "folder"} and (tmp_path / "file").read_text() == "kept"


def test_models_without_a_learning_program(tmp_path: Path, capsys: Capsys) -> None:
    c = case(tmp_path / "in")
    c.rule.write_text('rule = "none"\n')
    out = tmp_path / "out"
    assert main(c.words(out)) == 0
    words = ["emulate", str(out), "--data", str(c.data), "--learn", "-o", str(tmp_path / "r.npz")]
    assert "was compiled for inference only" in refusal(words, capsys)


# ---- output folders that are none, or were edited -----------------------------------------------------

EDITS: dict[str, tuple[str, str]] = {
    "formatted": ('"classes":3', '"classes": 3'),
    "classes": ('"classes":3', '"classes":9'),
    "offset": ('"offset":0', '"offset":100000'),
    "dtype": ('"dtype":"int16"', '"dtype":"object"'),
    "kernel": ("dense.forward", "dense.backward"),
    "role": ('"step":"step"', '"stepp":"step"'),
    "space": ('"space":"arena"', '"space":"moon"'),
    "call": ('"call":"forward"', '"call":"learn"'),
    "name": ('"model":"net"', '"model":"../net"'),
    "version": (f'"plan_version":{PLAN_VERSION}', '"plan_version":99'),
    "content": ('"data":"', '"data":"AAAA'),
    "seed": ('"seed":1', '"seed":2'),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_a_plan_that_was_edited(
    what: str, project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    c, out = project
    old, new = EDITS[what]
    copy = shutil.copytree(out, tmp_path / "out", ignore=shutil.ignore_patterns(".build", ".pio"))
    text = (copy / "plan.json").read_text()
    assert old in text
    (copy / "plan.json").write_text(text.replace(old, new, 1))
    result = str(tmp_path / "r.npz")
    for words in (
        ["emulate", str(copy), "--data", str(c.data), "-o", result],
        ["verify", str(copy), "--data", str(c.data), "--device", "process"],
        ["inspect", str(copy)],
    ):
        assert "plan" in refusal(words, capsys).lower()


def test_any_damage_to_a_plan_is_told(project: tuple[Case, Path], tmp_path: Path) -> None:
    """Without the header beside it: what the Plan itself shows. What passes can be run."""
    from synapcc.gen.errors import SynapccError
    from synapcc.gen.stages.plan_file import load_plan

    text = (project[1] / "plan.json").read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(300):
        at, how = int(rng.integers(len(text))), int(rng.integers(3))
        broken = (
            text[:at] if how == 0 else text[:at] + text[at + 1 :] if how == 1
            else text[:at] + bytes([int(rng.choice(list(b'0123456789abcde"[]{}:,-')))]) + text[at + 1 :]
        )  # fmt: skip
        if broken == text:
            continue
        try:
            plan = load_plan(broken, "plan.json")
        except SynapccError as error:
            assert "\n" not in str(error)
        else:
            assert plan.canonical == broken


@pytest.mark.parametrize("command", ["verify", "emulate", "inspect", "build"])
def test_folders_that_are_no_project(
    command: str, project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    more = [] if command in ("inspect", "build") else ["--data", str(project[0].data)]
    more += ["-o", str(tmp_path / "r.npz")] if command == "emulate" else []
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "plan.json").write_text("[1, 2]")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "plan.json").write_text("[" * 100_000)
    for name in ("nothing", "", "json", "deep"):
        before = listing(tmp_path)
        refusal([command, str(tmp_path / name), *more], capsys)
        assert listing(tmp_path) == before


def test_a_folder_that_lacks_a_part(project: tuple[Case, Path], tmp_path: Path, capsys: Capsys) -> None:
    c, out = project
    for part in ("src", "lib", "include", "platformio.ini", "platforms", "plan.json"):
        copy = shutil.copytree(out, tmp_path / part, ignore=shutil.ignore_patterns(".build", ".pio"))
        shutil.rmtree(copy / part) if (copy / part).is_dir() else (copy / part).unlink()
        refusal(["verify", str(copy), "--data", str(c.data), "--device", "process"], capsys)
        refusal(["build", str(copy)] if part != "plan.json" else ["inspect", str(copy)], capsys)


def test_a_damaged_report(project: tuple[Case, Path], tmp_path: Path, capsys: Capsys) -> None:
    copy = shutil.copytree(project[1], tmp_path / "out", ignore=shutil.ignore_patterns(".build", ".pio"))
    for text in ("{", "[]", "{}", '{"memory": 3}', "\xff"):
        (copy / "report.json").write_text(text, encoding="latin-1")
        assert "report.json" in refusal(["inspect", str(copy)], capsys)


# ---- devices ------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives up after a fifth of a second."""
    monkeypatch.setattr(client.connect, "__defaults__", (None, 0.1, 2))


def verified(project: tuple[Case, Path], device: str) -> list[str]:
    c, out = project
    return ["verify", str(out), "--data", str(c.data), "--steps", "20", "--device", device]


def test_devices_that_are_not_there(project: tuple[Case, Path], capsys: Capsys) -> None:
    for device, says in {
        "quemu": "there is no such kind; kinds: process",
        "": "is given, but empty",
        "serial": "which port?",
        "serial:/dev/none": "there is no such port",
        "serial:/dev/null": "cannot be opened",
        "serial:nonsense://x": "is not a port",
        "process:magic": "no sanitizer",
        "unicorn:fast": "no option 'fast'",
        "qemu:fast": "no option 'fast'",
    }.items():  # fmt: skip
        assert says in refusal(verified(project, device), capsys)


def test_a_port_that_is_busy(project: tuple[Case, Path], capsys: Capsys) -> None:
    serial = pytest.importorskip("serial")
    _, slave = pty.openpty()
    with serial.Serial(os.ttyname(slave), exclusive=True):
        line = refusal(verified(project, f"serial:{os.ttyname(slave)}"), capsys)
    assert "another program uses the port; close it" in line


def test_a_port_that_is_silent(project: tuple[Case, Path], capsys: Capsys, quick: None) -> None:
    _, slave = pty.openpty()
    assert "not one byte; is the firmware flashed" in refusal(
        verified(project, f"serial:{os.ttyname(slave)}"), capsys
    )


class Talker(threading.Thread):
    """Whoever is at the other end of a pty: says `text` to whatever comes."""

    def __init__(self, text: bytes) -> None:
        super().__init__(daemon=True)
        self._text = text
        self._master, self._slave = pty.openpty()
        self.device = f"serial:{os.ttyname(self._slave)}"
        self.start()

    def run(self) -> None:
        while os.read(self._master, 4096):
            os.write(self._master, self._text)


@pytest.mark.parametrize(
    "text", [b"login: ", b"$GPGGA,1*47\r\n", bytes(range(256)), b"\x00\x01\x00\x05abcd\x00"]
)
def test_a_port_that_speaks_something_else(
    text: bytes, project: tuple[Case, Path], capsys: Capsys, quick: None
) -> None:
    line = refusal(verified(project, Talker(text).device), capsys)
    assert "no intact frame" in line and "baud rate" in line


class Bridge(threading.Thread):
    """Firmware behind a socket, which is gone after `most` bytes to it."""

    def __init__(self, out: Path, most: int = 1 << 30) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.device = f"serial:socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self._device, self._most = open_device("process", out), most
        self.start()

    def run(self) -> None:
        link, _ = self._listener.accept()
        count = 0
        with self._device as device, link:
            while count < self._most and (data := link.recv(4096)):
                count += len(data)
                device.write(data)
                while answer := device.read(0.05):
                    link.sendall(answer)


def test_firmware_of_another_plan(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys, quick: None
) -> None:
    _, other = compiled(tmp_path / "other", "dfa")
    assert main(["inspect", str(other)]) == 0
    line = refusal(verified(project, Bridge(other).device), capsys)
    assert "the firmware holds model 'net' of Plan" in line and "build and flash this project" in line


def test_a_port_that_goes_away(project: tuple[Case, Path], capsys: Capsys, quick: None) -> None:
    line = refusal(verified(project, Bridge(project[1], 1500).device), capsys)
    assert "serial:socket://" in line and ("went away" in line or "no answer" in line)


def test_a_device_that_dies(
    project: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, sent = ProcessDevice.write, []

    def dying(self: ProcessDevice, data: bytes) -> None:
        sent.append(data)
        if len(sent) == 70:
            assert self._child is not None
            os.kill(self._child.pid, signal.SIGKILL)
            time.sleep(0.1)
        write(self, data)

    monkeypatch.setattr(ProcessDevice, "write", dying)
    assert "the firmware died of signal 9" in refusal(verified(project, "process"), capsys)


def test_a_device_that_was_reset(
    project: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, count = client.Client.learn, []

    def reset(self: client.Client, *given: Any) -> bytes:
        count.append(1)
        if len(count) == 5:
            self.device.reset()
        return learn(self, *given)

    monkeypatch.setattr(client.Client, "learn", reset)
    assert "the device was reset" in refusal([*verified(project, "process"), "--batch", "1"], capsys)


def test_no_compiler(project: tuple[Case, Path], capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    process.host_compiler.cache_clear()
    monkeypatch.setenv("CC", "no-such-compiler -O9")
    try:
        assert "$CC names no-such-compiler, which is not there" in refusal(
            verified(project, "process"), capsys
        )
    finally:
        process.host_compiler.cache_clear()


# ---- as a process: nothing but the line ---------------------------------------------------------------


def test_no_traceback_from_a_process(good: Case, tmp_path: Path) -> None:
    for words in (
        good.words(good.folder),
        [
            "compile",
            str(tmp_path / "no.onnx"),
            "--rule",
            "r",
            "--calibrate",
            "c",
            "-o",
            str(tmp_path / "out"),
        ],
        ["inspect", str(tmp_path)],
        ["build", str(tmp_path)],
        ["verify", str(tmp_path), "--data", str(good.data)],
        ["emulate", str(tmp_path), "--data", str(good.data), "-o", str(tmp_path / "r.npz")],
    ):
        done = spawn(words)
        assert done.returncode == 2 and done.stdout == "", done
        assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"synapcc {words[0]}: ")


def test_paths_that_are_no_text(good: Case, tmp_path: Path) -> None:
    """File names are bytes: one that no encoding can show is used all the same."""
    strange = os.fsencode(tmp_path) + b"/n\xfft *!.onnx"
    shutil.copy(good.model, os.fsdecode(strange))
    files = ["--rule", str(good.rule), "--calibrate", str(good.data)]
    done = spawn(["compile", os.fsdecode(strange), *files, "-o", str(tmp_path / "out")])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "lib" / "nt" / "src" / "nt.c").is_file()
    done = spawn(["compile", os.fsdecode(strange), *files, "-o", os.fsdecode(strange + b"/x")])
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_the_reader_of_the_output_may_leave(project: tuple[Case, Path]) -> None:
    command = [sys.executable, "-m", "synapcc.host", "inspect", str(project[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout and child.stderr
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 1
