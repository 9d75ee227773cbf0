"""The checksum of a state: numpy, C here and C on virtual chips agree, and no small change is missed."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from projects import case

from synapcc.gen.target.messages import CHECKSUM_BYTES, Flag
from synapcc.host.cli import main
from synapcc.host.devices.process import host_compiler
from synapcc.host.devices.unicorn import UnicornDevice
from synapcc.host.firmware.build import build, project_board
from synapcc.host.link.checksum import Checksum
from synapcc.host.link.client import connect
from synapcc.host.link.protocol import render_header
from synapcc.host.run.plans import read_plan

ROOT = Path(__file__).resolve().parents[3]
VECTOR = re.compile(r"^\| (?:none|`([0-9a-f]*)`) \| `([0-9a-f]{32})` \|$", re.M)
PER_BYTE = {"mps2_an386": 3.5, "microbit": 6.0}
"""Instructions of the checksum a byte, at most: Cortex-M4, Cortex-M0."""


def of(content: bytes) -> bytes:
    return Checksum(len(content))(np.frombuffer(content, np.uint8))


def plainly(content: bytes) -> bytes:
    """As docs/PROTOCOL.md has it, word by word."""
    s = t = 0
    content += bytes(-len(content) % 4)
    for at in range(0, len(content), 4):
        w = int.from_bytes(content[at : at + 4], "little")
        w ^= w >> 15
        w = w * 0x7FEB352D % 2**32
        s = (s + (w ^ w >> 16)) % 2**64
        t = (t + s) % 2**64
    return s.to_bytes(8, "little") + t.to_bytes(8, "little")


def drawn(count: int) -> list[bytes]:
    """States of all lengths, random and extreme."""
    rng = np.random.default_rng(3)
    out = [rng.integers(0, 256, n).astype(np.uint8).tobytes() for n in range(count)]
    return out + [bytes([value]) * n for value in (0, 255) for n in (1, 7, 4096)]


@pytest.mark.parametrize("size", [1, 4, 5, 64, 131, 4096])
def test_a_checksum_gives_one_changed_word_away(size: int) -> None:
    """Its place and its value, whatever they are; two changed words give none away."""
    rng = np.random.default_rng(size)
    for _ in range(50):
        state = rng.choice([0, 1, 255, 77], size).astype(np.uint8)
        changed, word = state.copy(), 4 * int(rng.integers(-(-size // 4)))
        for at in range(word, min(word + 4, size)):
            changed[at] ^= rng.integers(1, 256)
        found = Checksum(size).one_word(state, of(changed.tobytes()))
        assert found is not None and np.array_equal(found, changed)
        if size > 4:
            changed[word - 4 if word else 4] ^= 1
            assert Checksum(size).one_word(state, of(changed.tobytes())) is None
        assert Checksum(size).one_word(state, of(state.tobytes())) is None


def test_documented_vectors() -> None:
    found = VECTOR.findall((ROOT / "docs" / "PROTOCOL.md").read_text())
    assert len(found) == 6
    for content, want in found:
        assert of(bytes.fromhex(content)).hex() == want


def test_numpy_and_c_compute_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "protocol.h").write_text(render_header())
    library, source = tmp_path / "checksum.so", ROOT / "firmware" / "checksum.c"
    flags = ["-std=c99", "-O2", "-shared", "-fPIC", f"-I{tmp_path}"]
    subprocess.run([*host_compiler(), *flags, str(source), "-o", str(library)], check=True)
    checksum = ctypes.CDLL(str(library)).checksum
    for content in drawn(70):
        result = ctypes.create_string_buffer(CHECKSUM_BYTES)
        aligned = (ctypes.c_uint32 * (len(content) // 4 + 1)).from_buffer_copy(content + bytes(4))
        checksum(aligned, ctypes.c_uint32(len(content)), result)
        assert result.raw == of(content) == plainly(content)


def test_no_change_of_one_bit_and_no_swap_is_missed() -> None:
    """All of them, in states that hide most (equal words, words that differ in their top bits) and random."""
    rng = np.random.default_rng(4)
    words = 60
    top = (rng.integers(0, 4, words).astype(np.uint32) << np.uint32(30)).view(np.uint8)
    for state in (np.zeros(4 * words, np.uint8), top, rng.integers(0, 256, 4 * words).astype(np.uint8)):
        checksum = Checksum(len(state))
        want = checksum(state)
        for bit in range(8 * len(state)):
            other = state.copy()
            other[bit // 8] ^= 1 << bit % 8
            assert checksum(other) != want
        word = state.view(np.uint32)
        for i in range(words):
            for j in np.flatnonzero(word[:i] != word[i]):
                swapped = word.copy()
                swapped[[i, j]] = word[[j, i]]
                assert checksum(swapped.view(np.uint8)) != want


def test_no_fault_of_many_words_is_missed() -> None:
    """Off by one, signs turned, bytes shifted: what wrong arithmetic does to a whole tensor."""
    rng = np.random.default_rng(5)
    base = rng.integers(-3000, 3000, 400).astype(np.int16)
    checksum = Checksum(base.nbytes)
    faults = [base]
    for _ in range(1500):
        at = rng.choice(400, rng.integers(3, 40), replace=False)
        for change in (rng.choice([-1, 1], len(at)), rng.choice([-2, -1, 1, 2], len(at))):
            faults.append(base.copy())
            faults[-1][at] += change.astype(np.int16)
        faults.append(base.copy())
        faults[-1][at] ^= np.int16(-32768)
    faults += [np.roll(base, by) for by in range(1, 400)]
    distinct = {f.tobytes() for f in faults}
    seen = {checksum(np.frombuffer(f, np.uint8)) for f in distinct}
    assert len(seen) == len(distinct)


@pytest.mark.parametrize("board", [*PER_BYTE])
def test_on_a_virtual_chip(board: str, tmp_path: Path) -> None:
    """The same bytes, and not more instructions than a step can spare."""
    c = case(tmp_path, sizes=(12, 64, 3))
    out = tmp_path / "out"
    assert main(c.words(out, "--board", board)) == 0
    plan, counts = read_plan(out), []
    with UnicornDevice(build(out).elf, project_board(out), count=True) as device:
        client = connect(device, plan.digest)
        for proof in (None, Flag.CHECKSUM):
            client.reset()
            before = device.counter.instructions
            got = client.learn(bytes(12), 1, proof)
            counts.append(device.counter.instructions - before)
        state = np.frombuffer(client.read(0, 0, plan.state_bytes), np.uint8)
        assert got == of(state.tobytes())
    each = (counts[1] - counts[0]) / plan.state_bytes
    print(f"{board}: {each:.2f} instructions of the checksum a byte")
    assert 0 < each < PER_BYTE[board]
