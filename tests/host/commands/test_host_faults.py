"""The host's own faults: a full disk, Ctrl-C and kill -9 at every file operation and every frame. Nothing is
half-written, there is one line, and the same command again succeeds."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lying import Chip, Clock
from projects import Case, case, listing

from synapcc.host.cli import main
from synapcc.host.devices import serial
from synapcc.host.link import session
from synapcc.host.run.plans import read_plan

Capsys = pytest.CaptureFixture[str]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Faults:
    """Sees each operation that changes files below `folder`, and does something at one of them."""

    def __init__(self) -> None:
        self.folder, self.at, self.seen = "", 0, 0
        self.fault: Callable[[], None] = lambda: None

    def hook(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.folder or threading.current_thread() is not threading.main_thread():
            return
        changes = event in ("os.rename", "os.mkdir") or (
            event == "open" and isinstance(given[2], int) and given[2] & WRITING
        )
        if changes and str(given[0]).startswith(self.folder):
            self.seen += 1
            if self.seen == self.at:
                self.fault()


FAULTS = Faults()


@pytest.fixture(scope="module", autouse=True)
def hooked() -> None:
    sys.addaudithook(FAULTS.hook)  # it stays, and does nothing outside of `faults`


@contextmanager
def faults(folder: Path, at: int, fault: Callable[[], None]) -> Iterator[None]:
    """At operation number `at` below the folder, `fault`; 0: at none."""
    FAULTS.folder, FAULTS.at, FAULTS.seen, FAULTS.fault = str(folder), at, 0, fault
    try:
        yield
    finally:
        FAULTS.folder = ""


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def stopped() -> None:
    raise KeyboardInterrupt


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def chip(project: tuple[Case, Path], monkeypatch: pytest.MonkeyPatch) -> Chip:
    """A chip on the port, which stays as it is from one command to the next."""
    clock = Clock()
    found = Chip(read_plan(project[1]), clock)
    monkeypatch.setattr(session, "time", clock.module())
    monkeypatch.setattr(serial, "open", lambda *_: found)
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    folder = tmp_path_factory.mktemp("faults")
    c = case(folder / "in", more="[store]\nsamples = 3\n")
    assert main(c.words(folder / "out")) == 0
    return c, folder / "out"


def words_of(name: str, project: tuple[Case, Path], new: Path) -> list[str]:
    c, out = project
    device = ["--device", "serial:chip"]
    return {
        "compile": c.words(new / "out"),
        "pull": ["pull", str(out), *device, "--npz", str(new / "w.npz"), "--onnx", str(new / "w.onnx")],
        "verify": [
            *("verify", str(out), "--data", str(c.data), "--steps", "3", *device, "--json", f"{new}/v.json"),
            *("--html", f"{new}/v.html", "--resume", f"{new}/run.npz"),
        ],
    }[name]


def operations(words: list[str], new: Path) -> int:
    """How many there are where nothing goes wrong; what was made goes again."""
    new.mkdir()
    with faults(new, 0, full):
        assert main(words) == 0
    count = FAULTS.seen
    _empty(new)
    return count


def _empty(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def whole(new: Path, wanted: dict[str, bytes]) -> None:
    """Each result that is there is all there; temporary files begin with a dot. A chip's statistics go on, so
    documents of it are read, and all else is what it was."""
    for path in (p for p in new.rglob("*") if p.is_file()):
        name, content = path.relative_to(new).as_posix(), path.read_bytes()
        if any(part.startswith(".") for part in path.relative_to(new).parts):
            continue
        if name == "v.json":
            assert json.loads(content)["steps"] == 3
        elif name == "v.html":
            assert content.rstrip().endswith(b"</html>")
        elif name.endswith(".npz"):
            assert set(np.load(path)) == set(np.load(io.BytesIO(wanted[name])))
        else:
            assert content == wanted[name], f"{name} is half written"


@pytest.mark.parametrize("name", ["compile", "pull", "verify"])
@pytest.mark.parametrize("fault", [full, stopped], ids=["full disk", "Ctrl-C"])
def test_faults_at_every_file_operation(
    name: str,
    fault: Callable[[], None],
    project: tuple[Case, Path],
    chip: Chip,
    tmp_path: Path,
    capsys: Capsys,
) -> None:
    new = tmp_path / "new"
    words = words_of(name, project, new)
    count = operations(words, new)
    assert count >= 4 and main(words) == 0
    wanted = {p.relative_to(new).as_posix(): p.read_bytes() for p in new.rglob("*") if p.is_file()}
    each = range(1, count + 1) if count < 20 else (1, 2, count // 2, count)
    for at in each:
        _empty(new)
        capsys.readouterr()
        with faults(new, at, fault):
            code = main(words)
        said = capsys.readouterr().err.strip("\n")
        whole(new, wanted)
        assert not [n for n in listing(new) if Path(n).name.startswith(".")], f"operation {at} leaves files"
        if code == 0:  # what could not be made was there already
            assert {n for n in wanted if (new / n).is_file()} == set(wanted)
        elif fault is full:
            assert code == 2 and said.count("\n") == 0 and "No space left on device" in said, (at, said)
        else:
            assert code == 130 and said.endswith("interrupted") and "Traceback" not in said
        if name == "compile" and code:
            assert not listing(new)
    _empty(new)
    assert main(words) == 0


@pytest.mark.parametrize("name", ["compile", "pull", "verify"])
def test_a_kill_at_file_operations(name: str, project: tuple[Case, Path], chip: Chip, tmp_path: Path) -> None:
    """What bears a result's name is whole, and the same command again succeeds."""
    new = tmp_path / "new"
    words = words_of(name, project, new)
    count = operations(words, new)
    assert main(words) == 0
    wanted = {p.relative_to(new).as_posix(): p.read_bytes() for p in new.rglob("*") if p.is_file()}
    for at in sorted({1, count // 2, count}):
        _empty(new)
        child = os.fork()
        if not child:
            with faults(new, at, killed):
                main(words)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        whole(new, wanted)
        assert main(words) == 0, f"after a kill at operation {at}"
        whole(new, wanted)


@pytest.mark.parametrize("name", ["pull", "push", "verify"])
def test_ctrl_c_at_every_frame(
    name: str, project: tuple[Case, Path], chip: Chip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: Capsys,
) -> None:  # fmt: skip
    """The chip stays as it is meanwhile, half a state on it; the same command again does all of it."""
    new, out = tmp_path / "new", str(project[1])
    new.mkdir()
    state = tmp_path / "state.npz"
    learn = ["pull", out, "--device", "serial:chip", "--learn", str(project[0].data)]
    assert main([*learn, "--samples", "--npz", str(state)]) == 0
    words = ["push", out, "--device", "serial:chip", str(state), "--json", str(new / "p.json")]
    words = words if name == "push" else words_of(name, project, new)
    known = chip.model.machine.state[0].tobytes()
    before = chip.frames
    assert main(words) == 0
    count = chip.frames - before
    _empty(new)
    honest = chip.write
    for at in range(1, count + 1, max(1, count // 12)):
        left = at

        def write(data: bytes) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt
            honest(data)

        monkeypatch.setattr(chip, "write", write)
        assert main(words) == 130 and listing(new) <= {"run.npz"}
        assert "Traceback" not in capsys.readouterr().err
        monkeypatch.setattr(chip, "write", honest)
        assert main(words) == 0
        if name == "push":
            assert chip.model.machine.state[0].tobytes() == known
        _empty(new)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_was_ended_is_built_again(number: int, tmp_path: Path) -> None:
    """While it begins, in its midst, and when it is nearly done: the same firmware comes of it. A signal that
    comes before the command has begun ends Python, not us."""
    c = case(tmp_path)
    assert main(c.words(tmp_path / "out")) == 0
    command = [sys.executable, "-m", "synapcc.host", "build", str(tmp_path / "out")]
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.monotonic() - started
    (elf,) = (tmp_path / "out" / ".pio").rglob("firmware.elf")
    wanted = elf.read_bytes()
    for share in (0.2, 0.6, 0.9):
        shutil.rmtree(tmp_path / "out" / ".pio")
        with subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background job ignores SIGINT, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as child:
            time.sleep(share * seconds)
            child.send_signal(number)
            _, said = child.communicate()
        assert child.returncode in (0, 130, 143, -number), said
        assert share < 0.5 or "Traceback" not in said
        subprocess.run(command, check=True, capture_output=True)
        assert elf.read_bytes() == wanted, share
