"""The firmware on an RP2040 of npm's rp2040js, by a board file and a HAL of one's own: a link over its UART.

    python -m pytest -m long tests/host/devices/test_rp2040.py

needs node and npm, and fetches the package once, into the folder where this program keeps things.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from projects import compiled

from synapcc.host import cache
from synapcc.host.cli import main
from synapcc.host.firmware.build import build

SUPPORT = Path(__file__).resolve().parents[2] / "support" / "rp2040"
PACKAGE = "rp2040js@1.4.1"
MORE = "[store]\nsamples = 5\n[replay]\nsamples = 6\nevery = 2\n[keep]\n"
Capsys = pytest.CaptureFixture[str]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def package() -> Path:
    """The folder of rp2040js."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed: apt-get install nodejs npm")
    home = cache.folder() / PACKAGE.replace("@", "-")
    found = home / "node_modules" / "rp2040js"
    if not found.is_dir():
        words = ["npm", "install", "--prefix", home, "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm cannot fetch {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
    return found


@contextmanager
def chip(package: Path, flash: Path) -> Iterator[str]:
    """A running chip; the device that it is. AssertionError where its link is none."""
    words = ["node", SUPPORT / "pico.mjs", package, flash]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as node:
        assert node.stdout and node.stdin and node.stderr
        try:
            yield f"serial:socket://127.0.0.1:{int(node.stdout.readline())}"
        finally:
            node.stdin.close()
            said = node.stderr.read()
        assert not said and node.wait(10) == 0, said


def verified(out: Path, data: Path, device: str, capsys: Capsys, *more: str) -> str:
    capsys.readouterr()
    assert main(["verify", str(out), "--data", str(data), "--device", device, *more]) == 0
    return capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("toolchain", ["gcc", "zig"])
@pytest.mark.parametrize("rule", ["hebbian", "dfa"])
def test_it_learns_as_its_emulator(
    toolchain: str, rule: str, package: Path, tmp_path: Path, capsys: Capsys
) -> None:
    """Every persistent byte after each step, in slices too; what it saves it restores, and goes on from."""
    if toolchain == "gcc" and not shutil.which("arm-none-eabi-gcc"):
        pytest.skip("arm-none-eabi-gcc is not installed")
    c, _ = compiled(tmp_path, rule, more=MORE)
    out = tmp_path / "pico"
    assert main(c.words(out, "--board", str(SUPPORT / "pico.toml"))) == 0
    flash = build(out, toolchain).elf.with_suffix(".bin")
    with chip(package, flash) as device:
        assert (
            verified(out, c.data, device, capsys, "--steps", "200") == "verify: 200 steps, 0 differing bytes"
        )
        said = verified(out, c.data, device, capsys, "--steps", "20", "--slices")
        assert said == "verify: 20 steps, 0 differing bytes"
        assert main(["save", str(out), "--device", device]) == 0
        assert main(["restore", str(out), "--device", device]) == 0
        assert "bytes were restored" in capsys.readouterr().out


def test_a_link_that_no_cable_would_carry_is_noticed(package: Path, tmp_path: Path) -> None:
    """So that the test above says something of the HAL."""
    c, _ = compiled(tmp_path)
    for number, (old, new, says) in enumerate(
        (
            ("DIVIDER % 64u", "(DIVIDER + 64u) % 64u", ""),
            ("DIVIDER / 64u", "DIVIDER / 64u + 1u", "baud"),
            ("register_write(GPIO1_CTRL", "(void)(GPIO1_CTRL", "GP0 and GP1"),
            ("LCR_H_8_BITS | LCR_H_FIFO", "LCR_H_FIFO", "sends no bytes"),
        )
    ):
        folder = tmp_path / f"hal{number}"
        shutil.copytree(SUPPORT, folder)
        hal = folder / "pico_uart.c"
        text = hal.read_text(encoding="utf-8")
        assert old in text
        hal.write_text(
            text.replace(old, new).replace("(void)(GPIO1_CTRL, FUNCTION_UART)", "(void)GPIO1_CTRL")
        )
        out = tmp_path / f"out{number}"
        assert main(c.words(out, "--board", str(folder / "pico.toml"))) == 0
        flash = build(out, "zig").elf.with_suffix(".bin")
        words = ["verify", str(out), "--data", str(c.data), "--steps", "2", "--device"]
        try:
            with chip(package, flash) as device:
                assert main([*words, device]) == (2 if says else 0)
        except AssertionError as error:
            assert says and says in str(error), error
        else:
            assert not says
