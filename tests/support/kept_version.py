"""Keeps what this version writes: `python tests/support/kept_version.py` makes tests/data/VERSION anew.

All of it comes from a drawn network and drawn numbers. Later versions read it, or refuse it with one line:
tests/host/test_versions.py. docs/VERSIONS.md says what is promised.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from projects import Case, case

from synapcc.gen.ir.plan import PLAN_VERSION, Plan
from synapcc.gen.numeric import NUMERIC_VERSION
from synapcc.gen.target.messages import PROTOCOL_VERSION, RUNTIME_VERSION, Flag
from synapcc.gen.version import VERSION
from synapcc.host.cli import main
from synapcc.host.devices import Device, open_device
from synapcc.host.link import client, session, state
from synapcc.host.run import resume
from synapcc.host.run.plans import read_plan
from synapcc.host.run.samples import load_samples
from synapcc.host.terminal.results import SCHEMAS

KEPT = Path(__file__).resolve().parents[1] / "data"
MORE = "[store]\nsamples = 4\n[replay]\nsamples = 3\nevery = 2\n[decay]\nshift = 8\nevery = 4\n"
STEPS = 30
SESSION = 0x5EED
ASKED, ANSWERED = "> ", "< "


def numbers() -> dict[str, object]:
    """Every number that a reader asks for."""
    return {
        "version": VERSION,
        "plan": PLAN_VERSION,
        "numeric": NUMERIC_VERSION,
        "state": state.FORMAT,
        "resume": resume.FORMAT,
        "protocol": PROTOCOL_VERSION,
        "runtime": RUNTIME_VERSION,
        "json": dict(SCHEMAS),
    }


@contextmanager
def known_session() -> Iterator[None]:
    """Sessions of a number that is no chance."""
    former = session.secrets.randbelow
    session.secrets.randbelow = lambda _: SESSION - 1  # type: ignore[assignment]
    try:
        yield
    finally:
        session.secrets.randbelow = former


class Wire:
    """A device whose bytes are written down, an exchange a pair of lines."""

    def __init__(self, device: Device) -> None:
        self._device, self.name = device, device.name
        self.lines: list[str] = []

    def write(self, data: bytes) -> None:
        self.lines.append(ASKED + data.hex())
        self._device.write(data)

    def read(self, timeout: float) -> bytes:
        got = self._device.read(timeout)
        if got and self.lines[-1].startswith(ASKED):
            self.lines.append(ANSWERED)
        if got:
            self.lines[-1] += got.hex()
        return got

    def close(self) -> None:
        self._device.close()


def talk(plan: Plan, project: Path, data: Path) -> list[str]:
    """A session of each request that a learning step is made of: what was asked, what was answered."""
    samples = load_samples(plan, data, labels=True)
    assert samples.labels is not None
    given = [(samples.packed(i), int(samples.labels[i])) for i in range(5)]
    with known_session(), open_device("process", project) as device:
        wire = Wire(device)
        chip = client.connect(wire, plan)  # type: ignore[arg-type]
        chip.reset()
        chip.infer(given[0][0])
        chip.learn(*given[0])
        chip.learn_many(given[1:], Flag.CHECKSUM)
        state.read(chip)
        chip.infer(given[0][0])
    return wire.lines


def told(words: list[str]) -> None:
    if main(words):
        raise SystemExit(f"{' '.join(words[:2])} failed")


def compiled(made: Case, folder: Path) -> tuple[Path, list[str]]:
    """The output folder of a case, and the words that make it."""
    words = [*made.words(folder / "out"), "--json", str(folder / "compile.json")]
    told(words)
    return folder / "out", words


def keep(folder: Path) -> None:
    """All that a version is known by, in the new `folder`."""
    made = case(folder, more=MORE)
    out, _ = compiled(made, folder)
    data = ["--data", str(made.data)]
    told(
        [
            "emulate",
            str(out),
            *data,
            "--learn",
            "-o",
            str(folder / "r.npz"),
            "--state-out",
            str(folder / "state.npz"),
        ]
    )
    verify = ["verify", str(out), *data, "--device", "process", "--steps", str(STEPS)]
    told([*verify, "--json", str(folder / "verify.json")])
    (folder / "r.npz").unlink()
    plan = read_plan(out)
    shutil.copyfile(out / "plan.json", folder / "plan.json")
    shutil.copyfile(out / "lib" / plan.model / "src" / f"{plan.model}.h", folder / f"{plan.model}.h")
    lines = talk(plan, out, made.data)
    (folder / "wire.txt").write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")
    text = json.dumps(numbers(), indent=1, sort_keys=True) + "\n"
    (folder / "numbers.json").write_text(text, encoding="utf-8", newline="\n")
    shutil.rmtree(out)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        keep(Path(temporary) / VERSION)
        shutil.rmtree(KEPT / VERSION, ignore_errors=True)
        shutil.copytree(Path(temporary) / VERSION, KEPT / VERSION)
    print(f"wrote {KEPT / VERSION}", file=sys.stderr)
