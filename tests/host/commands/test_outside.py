"""What comes from outside: files that never end, arrays and boards that cannot be, text that steers."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import unicodedata
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import Case, arrays, case, compiled, refusal, save, spawn

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.files.npz import load_arrays
from synapcc.gen.files.userfile import read_file, read_text
from synapcc.gen.target.board import WORD
from synapcc.gen.target.boards import BOARDS, Board, board_dict, list_boards, load_board, parse_board
from synapcc.gen.target.hals import HALS, hals
from synapcc.host.cli import main
from synapcc.host.link.protocol import decode_fields, encode_fields
from synapcc.host.link.session import spoken
from synapcc.host.pages import html
from synapcc.host.terminal import screen

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    return compiled(tmp_path_factory.mktemp("project"))


# ---- files --------------------------------------------------------------------------------------------


def odd_files(folder: Path) -> dict[str, Path]:
    """One of each kind of thing that is no file, and what stands for it in messages."""
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    sock = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket is short
    sock.bind("socket")
    os.chdir(here)
    sock.close()
    return {
        "is a pipe": folder / "fifo",
        "is a folder": folder / "folder",
        "is a socket": folder / "socket",
        "is a device": Path("/dev/zero"),
        "cannot be read": folder / "loop",
        "there is no such file": folder / "none",
    }


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    for says, path in odd_files(tmp_path).items():
        with pytest.raises(SynapccError, match=says):
            read_file(path, 100)
    (tmp_path / "file").write_bytes(bytes(100))
    assert read_file(tmp_path / "file", 100) == bytes(100)
    with pytest.raises(SynapccError, match="is larger than"):
        read_file(tmp_path / "file", 99)
    with pytest.raises(SynapccError, match="or never ends"):  # says that it has 0 bytes
        read_file(Path("/proc/self/environ"), 1)
    (tmp_path / "file").write_bytes(b"a\r\nb\xff")
    with pytest.raises(SynapccError, match="not UTF-8"):
        read_text(tmp_path / "file", 100)
    with pytest.raises(SynapccError, match="cannot be read"):
        read_file(Path("a\0b"), 1)


def test_no_command_waits_for_what_never_comes(project: tuple[Case, Path], tmp_path: Path) -> None:
    """Wherever a file can be given, a pipe, an endless device, a circle of links and "" are refused."""
    c, out = project
    pipe = tmp_path / "p.onnx"
    os.mkfifo(pipe)
    here, there = str(c.model), ["-o", str(tmp_path / "out")]
    zero = tmp_path / "z.onnx"
    zero.symlink_to("/dev/zero")
    circle = tmp_path / "c.onnx"
    circle.symlink_to(circle)
    device = ["--device", "process"]
    for odd in (str(pipe), str(zero), str(circle), ""):
        for words in (
            ["compile", odd, "--rule", str(c.rule), "--calibrate", str(c.data), *there],
            ["compile", here, "--rule", odd, "--calibrate", str(c.data), *there],
            ["compile", here, "--rule", str(c.rule), "--calibrate", odd, *there],
            [*c.words(tmp_path / "out"), "--board", odd],
            ["inspect", odd],
            ["inspect", str(out), "--learn", odd],
            ["emulate", str(out), "--data", odd, *there],
            ["emulate", odd, "--data", str(c.data), *there],
            ["emulate", str(out), "--data", str(c.data), "--state", odd, *there],
            ["verify", str(out), "--data", odd, *device],
            ["push", str(out), odd, *device],
            ["build", odd],
            ["flash", odd],
            ["boards", "--rule-path", odd],
            *([] if odd == str(circle) else [["boards", "--json", odd]]),  # a result takes a link's place
        ):
            alone = odd == str(pipe) and words[0] == "compile"
            done = spawn(words, timeout=30) if alone else None
            code, err = (done.returncode, done.stderr) if done else quiet(words)
            assert code == 2 and err.count("\n") == 1 and "Traceback" not in err, (words, err)
    assert not (tmp_path / "out").exists()


def quiet(words: list[str]) -> tuple[int, str]:
    """(exit code, what stands on standard error)."""
    former, sys.stderr = sys.stderr, io.StringIO()
    try:
        return main(words), sys.stderr.getvalue()
    finally:
        sys.stderr = former


def test_parts_of_an_output_folder_are_files_too(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    c, out = project
    parts = (
        "plan.json", "report.json", "network.onnx", "platformio.ini", "lib/net/src/net.h", "src/main.c",
        "platforms/synapcc/boards/mps2_an386.json", "lib/net/library.json",
    )  # fmt: skip
    for part in parts:
        copy = shutil.copytree(out, tmp_path / part.replace("/", "_"), ignore=shutil.ignore_patterns(".*"))
        (copy / part).unlink()
        os.mkfifo(copy / part)
        words = {
            "report.json": ["inspect", str(copy)],
            "network.onnx": ["inspect", str(copy), "--learn", str(c.data)],
            "src/main.c": ["build", str(copy)],
            "lib/net/library.json": ["build", str(copy)],
        }.get(part, ["verify", str(copy), "--data", str(c.data), "--device", "unicorn"])
        refusal(words, capsys)


def test_weights_beside_the_model_are_files(tmp_path: Path, capsys: Capsys) -> None:
    import onnx

    c = case(tmp_path / "in")
    proto = om.mlp((12, 8, 3))
    onnx.save(proto, c.model, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert main(c.words(tmp_path / "out")) == 0
    (c.folder / "w.bin").unlink()
    os.mkfifo(c.folder / "w.bin")
    assert "is a pipe" in refusal(c.words(tmp_path / "again"), capsys)


# ---- arrays -------------------------------------------------------------------------------------------


def npy(header: str, content: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A member with any header."""
    text = (header + " " * (63 - (10 + len(header)) % 64) + "\n").encode("latin-1")
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + content


def head(descr: str, shape: str, order: bool = False) -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


MEMBERS: dict[str, bytes] = {
    "no array": b"hello",
    "empty": b"",
    "magic alone": b"\x93NUMPY",
    "version 9": npy(head("'<f4'", "(2,)"), bytes(8), (9, 0)),
    "truncated": npy(head("'<f4'", "(60, 12)"), bytes(100)),
    "too long": npy(head("'<f4'", "(1, 12)"), bytes(100)),
    "huge": npy(head("'<f4'", f"({2**40}, 12)"), b"1234"),
    "huge and empty": npy(head("'<f4'", f"({2**62}, 0, {2**62})")),
    "huge texts": npy(head("'<U0'", f"({2**40},)")),
    "digits": npy(head("'<f4'", f"({'9' * 5000},)")),
    "negative": npy(head("'<f4'", "(-1, 12)"), bytes(48)),
    "bool in shape": npy(head("'<f4'", "(True, 12)"), bytes(48)),
    "float in shape": npy(head("'<f4'", "(1.5, 12)"), bytes(48)),
    "objects": npy(head("'|O'", "(60,)"), bytes(480)),
    "records": npy(head("[('a', '<f4'), ('b', '<i8')]", "(60,)"), bytes(720)),
    "records of objects": npy(head("[('\\x1b]0;x', '|O')]", "(60,)"), bytes(480)),
    "no type": npy(head("'<q9'", "(60,)"), bytes(480)),
    "nested": npy("{'descr': " + "(" * 3000 + ")" * 3000 + "}"),
    "code": npy("{'descr': __import__('os').system('id'), 'fortran_order': False, 'shape': ()}"),
    "many axes": npy(head("'<f4'", str((1,) * 99)), bytes(4)),
}  # fmt: skip


@pytest.mark.parametrize("what", MEMBERS)
def test_members_that_are_no_arrays(what: str, tmp_path: Path, capsys: Capsys) -> None:
    c = case(tmp_path / "in")
    for name in ("input.npy", "extra.npy"):
        save(c.data, arrays())
        with zipfile.ZipFile(c.data, "a" if name == "extra.npy" else "w") as archive:
            archive.writestr(name, MEMBERS[what])
        assert "cannot be read as .npz" in refusal(c.words(tmp_path / "out"), capsys), what
    assert not (tmp_path / "out").exists()


def test_archives_that_are_no_npz(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", arrays())
    good = path.read_bytes()

    def says(text: str) -> None:
        with pytest.raises(CompileError, match=text) as caught:
            load_arrays(path)
        assert str(caught.value).isprintable()

    for name in ("readme.txt", "../../etc/passwd", "folder/", "\x1b]0;owned\x07", "input", ""):
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr(name or ".", b"text")
        says("is no .npy")
        path.write_bytes(good)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("input.npy", b"again")
    says("two members")
    entry = bytearray(good)
    for mark, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        entry[entry.find(mark) + at] |= 1
    path.write_bytes(bytes(entry))
    says("is encrypted")
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(5000):
            archive.writestr(f"{i}.npy", b"")
    says("5000 members")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_to_an_archive_is_a_line(data: st.DataObject) -> None:
    """Bytes that are changed, cut or put in: arrays, or one line. A header decides what is read, so it is hit
    most often."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays(4))  # type: ignore[arg-type]
    raw = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 200), st.integers(0, len(raw) - 1)))
        how = data.draw(st.sampled_from("xdi"))
        if how == "x":
            raw[at] = data.draw(st.integers(0, 255))
        elif how == "d":
            del raw[at : at + data.draw(st.integers(1, 9))]
        else:
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.npz"
        path.write_bytes(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                found = load_arrays(path)
            except CompileError as error:
                assert "\n" not in str(error)
            else:
                assert all(isinstance(a, np.ndarray) and not a.dtype.hasobject for a in found.values())


ODD = {
    "zero-d": np.float32(3), "records": np.zeros(60, [("a", "<f4", (12,))]), "texts": np.full((60, 12), "x"),
    "bytes": np.full((60, 12), b"x"), "complex": np.ones((60, 12), complex), "void": np.zeros((60, 12), "V4"),
    "times": np.zeros((60, 12), "M8[s]"), "bool": np.ones((60, 12), bool), "empty": np.zeros((60, 0)),
    "axes": np.zeros((60, 1, 1, 12)), "long": np.full((60, 12), np.longdouble("1e4000")),
    "int8": np.zeros((60, 12), np.int8),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("name", ["input", "label"])
def test_arrays_that_are_no_samples(
    what: str, name: str, project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    c, out = project
    data = save(tmp_path / "d.npz", {**arrays(), name: ODD[what]})
    other = Case(c.model, c.rule, data)
    emulate = ["emulate", str(out), "--data", str(data), "--learn", "-o", str(tmp_path / "r.npz")]
    for words in (other.words(tmp_path / "out"), emulate):
        if (words[0], name, what) == ("emulate", "input", "int8"):
            continue  # as the chip takes it
        if (words[0], name) == ("emulate", "input") and what in ("axes", "long"):
            continue  # as many values: flat ones are allowed; what is too large is clipped
        refusal(words, capsys)
    state = ["emulate", str(out), "--data", str(c.data), "-o", str(tmp_path / "r.npz"), "--state"]
    refusal([*state, str(save(tmp_path / "s.npz", {"synapcc.about": ODD[what]}))], capsys)


# ---- any finite calibration ---------------------------------------------------------------------------

FINITE = st.floats(allow_nan=False, allow_infinity=False)
EDGES = st.sampled_from(
    [5e-324, 2.2e-308, 1e-45, 1e-38, 1e-19, 1e19, 3.4e38, 3.5e38, 1e154, 1.7e308, 0.0, -1e308]
)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(FINITE | EDGES, min_size=1, max_size=12), alone=st.booleans())
def test_any_finite_calibration_gives_a_plan_or_a_line(values: list[float], alone: bool) -> None:
    x = arrays(20)["input"].astype(np.float64)
    if alone:
        x[3, : len(values)] = values
    else:
        x[...] = np.resize(values, x.shape)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        c = case(Path(folder), "dfa", more="[replay]\nsamples = 3\n")
        try:
            compile_model(c.model, c.rule, {"input": x, "label": arrays(20)["label"]}, "mps2_an386")
        except CompileError as error:
            assert "\n" not in str(error)


def test_data_of_any_finite_size_is_clipped(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    _, out = project
    x = np.full((3, 12), 1e308)
    x[1], x[2] = -1e308, 5e-324
    data = save(tmp_path / "d.npz", {"input": x})
    done = spawn(["emulate", str(out), "--data", str(data), "-o", str(tmp_path / "r.npz")])
    assert done.returncode == 0 and done.stderr.count("\n") == 1, done.stderr  # nothing of numpy's
    assert "24 of 36 values (66.7 %) of input input lie beyond" in done.stderr


# ---- boards -------------------------------------------------------------------------------------------

M4 = (BOARDS / "mps2_an386.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("clock_hz = 25_000_000", "clock_hz = 4294967296", "= 4294967296; the core clock in Hz, below"),
        ("clock_hz = 25_000_000", "clock_hz = 1e40", "`clock_hz` is 1e\\+40, it must be a whole number"),
        ("clock_hz = 25_000_000", "clock_hz = -1", "clock_hz = -1"),
        ("clock_hz = 25_000_000", "clock_hz = 1000", "no rate from 300"),
        ("clock_hz = 25_000_000", f"clock_hz = {'9' * 6000}", "is not TOML: Exceeds the limit"),
        ("clock_hz = 25_000_000", f"clock_hz = 0x{'f' * 6000}", "a number of more than 20 digits"),
        ("clock_hz = 25_000_000", f"clock_hz = {'[' * 6000}{']' * 6000}", "nested too deeply"),
        ("clock_hz = 25_000_000", f"clock_hz = {'[' * 90}{']' * 90}", "must be a whole number"),
        ("stack = 4096", f"stack = {2**63}", "`stack` is"),
        ("uart_base = 0x4000_4000", "uart_base = 0", "uart_base = 0x0 is no address"),
        ("uart_base = 0x4000_4000", "uart_base = 0xffff_fffc", "is no address"),
        ("uart_base = 0x4000_4000", "uart_base = 0x2000_0000", "is no address"),
        ("uart_base = 0x4000_4000", "uart_base = 0x4000_4000\nbaud = 0", "link.baud = 0"),
        ("uart_base = 0x4000_4000", "uart_base = 0x4000_4000\nbaud = 4000000000", "link.baud"),
        ("uart_base = 0x4000_4000", "uart_base = 0x4000_4000\nclock_hz = 4294967296", "link.clock_hz"),
        ("origin = 0x2000_0000", "origin = 0x4000_0000", "reaches where no memory is"),
        ("origin = 0x2000_0000", "origin = 0xffc0_0000", "reaches where no memory is"),
        ("# [power]", "[power]\nmicroamp_per_mhz = nan\nsource = 'x'\n#", "needs a positive current"),
        ("# [power]", "[power]\nmicroamp_per_mhz = inf\nsource = 'x'\n#", "needs a positive current"),
        ("# [power]", f"[power]\nmicroamp_per_mhz = {10**400}\nsource = 'x'\n#", "`microamp_per_mhz` is"),
        ('qemu = "mps2-an386"', 'qemu = "mps2-an386,dumpdtb=/tmp/x"', "emulator.qemu"),
        ('qemu = "mps2-an386"', 'qemu = "-netdev"', "emulator.qemu"),
        ('platform = "synapcc"', 'platform = "https://x.org/p.zip"\nframework = "cmsis"', "of the registry"),
        ('platform = "synapcc"', 'platform = "symlink:///x"\nframework = "cmsis"', "of the registry"),
        ('platform = "synapcc"', 'platform = "st"\nframework = "${sysenv.HOME}"', "io.framework"),
        ("unicorn = true", 'unicorn = true\n[upload]\npyocd = "--script"\ntool = "pyocd"', "upload.pyocd"),
        ("unicorn = true", 'unicorn = true\n"\\u001b]0;x\\u0007" = 1', "unknown key `_"),
        ("Cortex-M4F", "\\u202eCortex", "`title` is empty or holds"),
    ],
)  # fmt: skip
def test_boards_that_no_compiler_should_see(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert M4.count(old) == 1
    path = tmp_path / "mps2_an386.toml"
    path.write_text(M4.replace(old, new))
    with pytest.raises(CompileError, match=says) as caught:
        load_board(path)
    assert len(str(caught.value)) < 400 and str(caught.value).isprintable()


NUMBER = st.one_of(
    st.sampled_from([0, 1, 4, 300, 115_200, 1_000_000, 16_000_000, 64_000_000, 0x4000_0000, 2**31]),
    st.sampled_from([0x4000_2000, WORD - 1, WORD, WORD - 4096, 0x4000_4400]),
    st.integers(0, WORD + 1),
    st.integers(-9, 2**70),
)  # fmt: skip


@st.composite
def described(draw: st.DrawFn) -> dict[str, object]:
    """A board's tables: some numbers are those of a board that there is, some are any."""
    near = draw(st.sampled_from([board for board in list_boards() if board.link]))
    tables = json.loads(json.dumps(board_dict(near)))
    for table, key in (("", "clock_hz"), ("link", "uart_base"), ("link", "baud"), ("link", "clock_hz")):
        if draw(st.integers(0, 2)) == 0:
            (tables[table] if table else tables)[key] = draw(NUMBER)
    if draw(st.integers(0, 3)) == 0:
        tables["link"]["hal"] = draw(st.sampled_from(hals()))
    for key in ("tx", "rx"):
        if draw(st.integers(0, 3)) == 0:
            tables["link"][key] = draw(st.sampled_from(["PA2", "PK15", "P0.06", "P1.31", ""]))
    return tables


@settings(max_examples=40, deadline=None)
@given(described())
def test_what_a_board_may_be_the_compiler_takes(tables: dict[str, object]) -> None:
    """Each board that is not refused compiles with its HAL, warnings as errors."""
    try:
        board = parse_board(tables, "x")
    except CompileError as error:
        assert "\n" not in str(error)
        return
    done = syntax(board)
    assert done.returncode == 0, (board, done.stderr)


def syntax(board: Board) -> subprocess.CompletedProcess[str]:
    link, pins = board.port, board.port.pins
    gcc = shutil.which("arm-none-eabi-gcc")
    start = [gcc, "-mcpu=cortex-m4", "-mthumb"] if gcc else ["cc"]
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffreestanding"]
    flags += [
        f'-DSYNAPCC_BOARD="{board.name}"', f"-DSYNAPCC_CLOCK_HZ={board.clock_hz}",
        f"-DSYNAPCC_UART_BASE={link.uart_base:#010x}u", f"-DSYNAPCC_UART_CLOCK_HZ={board.uart_clock_hz}",
        f"-DSYNAPCC_BAUD={link.baud}",
    ]  # fmt: skip
    flags += [f"-DSYNAPCC_TX_PIN={pins[0]}", f"-DSYNAPCC_RX_PIN={pins[1]}"] if pins else []
    command = [*start, *flags, "-S", "-o", os.devnull, str(HALS / f"{link.hal}.c")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# ---- the border to the terminal -----------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\b\x7f\u202e\u2066\u200f\u200b\ufeff\u2028\x85\U000e0041\ud800"


@given(st.text(st.characters(), max_size=40))
def test_nothing_that_a_terminal_obeys_passes(text: str) -> None:
    shown = screen.neutral(text)
    bad = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert all(c in "\n\t" or unicodedata.category(c) not in bad for c in shown)
    assert screen.neutral(text, lines=False).count("\n") == 0
    shown.encode("utf-8")
    kept = "".join(c for c in text if c.isprintable())
    assert len(shown) >= len(kept)


def test_names_from_outside_reach_the_terminal_as_text(tmp_path: Path, capsys: Capsys) -> None:
    evil = EVIL.replace("\ud800", "")
    c = case(tmp_path / "in")
    save(c.data, {evil: np.zeros((3, 12), np.float32)})
    folder = tmp_path / f"a{evil}"
    folder.mkdir()
    (folder / "b.toml").write_text(f'name = "{"x"}"\n"{"y"}\\u001b" = 1\n')
    for words in (
        c.words(tmp_path / "out"),
        ["inspect", str(tmp_path / f"{evil}.onnx")],
        ["emulate", str(folder), "--data", str(c.data), "-o", str(folder / "r.npz")],
        [*case(tmp_path / "g").words(tmp_path / "o"), "--board", str(folder / "b.toml")],
        [*case(tmp_path / "h").words(tmp_path / "o"), "--board", evil],
    ):
        assert refusal(words, capsys).isprintable()
    assert main(case(tmp_path / "k").words(folder / "out")) == 0
    shown = capsys.readouterr().out
    assert "\\x1b]0;owned" in shown and all(ch.isprintable() or ch == "\n" for ch in shown)


def test_what_a_chip_says_is_text() -> None:
    from synapcc.gen.target.messages import Field, Layout

    layout = Layout((Field("board", "text", ""),))
    said = spoken(decode_fields(layout, encode_fields(layout, {"board": "mps2\x1b[2J\n\u202eok"})))
    assert said["board"] == "mps2\\x1b[2J\\n\\u202eok"


def test_a_plan_has_no_text_that_begins_a_line(project: tuple[Case, Path], tmp_path: Path) -> None:
    text = (project[1] / "plan.json").read_text()
    assert '"node":"fc1"' in text
    (tmp_path / "plan.json").write_text(text.replace('"node":"fc1"', '"node":"fc1\\nall is well"', 1))
    code, err = quiet(["inspect", str(tmp_path / "plan.json")])
    assert code == 2 and "a text of several lines" in err


def test_pages_hold_no_characters_that_nobody_sees() -> None:
    told = html.neutral(str(html.element("p", None, EVIL)))
    assert all(c.isprintable() or c in "\n\t" for c in told)


def test_the_border_is_left_as_it_was(capsys: Capsys) -> None:
    before = sys.stdout, sys.stderr
    assert main(["rules"]) == 0
    assert (sys.stdout, sys.stderr) == before
    with screen.guarded(), screen.guarded():
        print(EVIL, file=sys.stderr)
        screen.steer(sys.stderr, "\r")
    assert capsys.readouterr().err.count("\x1b") == 0
