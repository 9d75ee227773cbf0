"""What a version wrote is read by today's code, or refused with one line; so is what a later one writes."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kept_version import ANSWERED, ASKED, KEPT, numbers
from projects import refusal

from synapcc.gen.emit import render, write
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.plan_file import load_plan
from synapcc.gen.target.boards import load_board
from synapcc.gen.version import VERSION
from synapcc.host.cli import main
from synapcc.host.devices import DeviceError, process
from synapcc.host.link import client, session, state
from synapcc.host.link.protocol import Receiver, Reply, encode_reply
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.plans import read_plan
from synapcc.host.run.samples import load_samples

pytestmark = pytest.mark.anywhere
Capsys = pytest.CaptureFixture[str]
VERSIONS = sorted(p.name for p in KEPT.iterdir() if p.is_dir())
NOW: dict[str, Any] = numbers()
IN_JSON = {"compile": "compile.json", "verify": "verify.json"}


def kept_numbers(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((KEPT / version / "numbers.json").read_text(encoding="utf-8"))
    return found


def same(version: str, *names: str) -> bool:
    """Whether a version has these numbers of today."""
    return all(kept_numbers(version)[name] == NOW[name] for name in names)


def one_line(error: SynapccError) -> str:
    assert "\n" not in str(error) and error.hint and len(str(error)) < 700
    return str(error)


def plan_of(version: str) -> Plan:
    """Its Plan; skips where its numbers are no longer read, which the test of Plans looks at."""
    if not same(version, "plan", "numeric"):
        pytest.skip(f"Plans of {version} are no longer read")
    return read_plan(KEPT / version / "plan.json")


def test_this_version_is_kept() -> None:
    """Where a number changes before a release, the folder is written anew; behind it, the version changes."""
    assert VERSION in VERSIONS, "python tests/support/kept_version.py"
    assert kept_numbers(VERSION) == NOW, "a number changed: is the version another one? then keep it anew"


def test_the_page_says_the_numbers() -> None:
    text = (KEPT.parents[1] / "docs" / "VERSIONS.md").read_text(encoding="utf-8")
    last = {
        row[1].split(",")[0]: row[-2].strip()
        for row in (r.split("|") for r in text.splitlines())
        if len(row) == 6
    }
    found = {name.strip(): now for name, now in last.items()}
    assert found["Plan"] == f"{NOW['plan']}, {NOW['numeric']}" and found["state"] == str(NOW["state"])
    assert found["how far a verification came"] == str(NOW["resume"])
    assert (found["rule file"], found["the link"]) == (VERSION, str(NOW["protocol"]))
    assert found["firmware and emitted model"] == str(NOW["runtime"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plan_is_read_or_refused(version: str) -> None:
    text = (KEPT / version / "plan.json").read_bytes()
    if same(version, "plan", "numeric"):
        assert load_plan(text, "plan.json").canonical == text
        return
    with pytest.raises(SynapccError) as caught:
        load_plan(text, "plan.json")
    theirs, ours = (f"{n['plan']}.{n['numeric']}" for n in (kept_numbers(version), NOW))
    assert f"plan version {theirs}, this synapcc reads {ours}" in one_line(caught.value)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_state_is_what_the_emulator_still_learns(version: str) -> None:
    plan, folder = plan_of(version), KEPT / version
    if not same(version, "state"):
        with pytest.raises(SynapccError) as caught:
            state.load(plan, folder / "state.npz")
        assert f"has format {kept_numbers(version)['state']}" in one_line(caught.value)
        return
    tensors, _ = state.load(plan, folder / "state.npz")
    machine, samples = Emulator(plan), load_samples(plan, folder / "data.npz", labels=True)
    assert samples.labels is not None
    for i, label in enumerate(samples.labels):
        machine.learn(samples.one(i), [label])
    assert machine.state[0].tobytes() == state.joined(plan, tensors)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_rule_file_compiles(version: str, tmp_path: Path) -> None:
    """To the same Plan as long as the version is the same; later it may be a better one."""
    folder = KEPT / version
    files = [
        str(folder / "net.onnx"),
        "--rule",
        str(folder / "rule.toml"),
        "--calibrate",
        str(folder / "data.npz"),
    ]
    assert main(["compile", *files, "-o", str(tmp_path / "out"), "--json", str(tmp_path / "j")]) == 0
    if version == VERSION:
        assert (tmp_path / "out" / "plan.json").read_bytes() == (folder / "plan.json").read_bytes()
    assert_has_all(folder / "compile.json", tmp_path / "j", version)


def assert_has_all(kept: Path, now: Path, version: str) -> None:
    """A document of today has what the kept one has, where the numbers of their kinds are the same."""
    old, new = (json.loads(p.read_text(encoding="utf-8")) for p in (kept, now))
    kind, number = old["schema"].removeprefix("synapcc.").split("/")
    assert int(number) == kept_numbers(version)["json"][kind] <= NOW["json"][kind]
    if int(number) == NOW["json"][kind]:
        assert_within(old, new, kind)


def assert_within(old: Any, new: Any, where: str) -> None:
    """Keys and types of `old` are in `new`; of lists, those of the first element. Keys may be names."""
    if old is None or new is None:
        return
    assert type(old) is type(new) or {type(old), type(new)} == {int, float}, where
    if isinstance(old, dict):
        assert old.keys() <= new.keys(), (
            f"{where}: {sorted(old.keys() - new.keys())} went: its schema needs a number"
        )
        for key, value in old.items():
            assert_within(value, new[key], f"{where}.{key}")
    elif isinstance(old, list) and old and new:
        assert_within(old[0], new[0], f"{where}[0]")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_header_has_every_name_that_it_had(version: str) -> None:
    plan = plan_of(version)
    old = (KEPT / version / f"{plan.model}.h").read_text(encoding="utf-8")
    files = render(plan, load_board("mps2_an386"), "a test")
    new = files[f"lib/{plan.model}/src/{plan.model}.h"].decode()
    names = [set(re.findall(rf"\b{plan.model}_\w+|\b{plan.model.upper()}_\w+", text)) for text in (old, new)]
    assert len(names[0]) > 25 and not names[0] - names[1], sorted(names[0] - names[1])
    declared = r"^\w[^;{}#]*\([^;{}]*\);"
    functions = [{" ".join(f.split()) for f in re.findall(declared, t, flags=re.M)} for t in (old, new)]
    assert len(functions[0]) > 10 and not functions[0] - functions[1], sorted(functions[0] - functions[1])


# ---- the link ---------------------------------------------------------------------------------------------


class Recorded:
    """A chip that answers what it once answered; `version`: which one it says that it speaks."""

    name = "a chip"

    def __init__(self, lines: list[str], version: int | None = None) -> None:
        self._lines, self._version = iter(lines), version
        self._answer = b""

    def write(self, data: bytes) -> None:
        assert next(self._lines) == ASKED + data.hex()
        self._answer = bytes.fromhex(next(self._lines).removeprefix(ANSWERED))
        if self._version is not None:
            (reply,) = Receiver().feed(self._answer)
            assert isinstance(reply, Reply)
            self._answer = encode_reply(
                Reply(self._version, *(getattr(reply, f) for f in Reply.__slots__[1:]))
            )

    def read(self, timeout: float) -> bytes:
        got, self._answer = self._answer, b""
        return got

    def close(self) -> None:
        """Nothing is open."""


def lines_of(version: str) -> list[str]:
    return (KEPT / version / "wire.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_host_of_today_speaks_with_its_chip(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, lines = plan_of(version), lines_of(version)
    monkeypatch.setattr(session.secrets, "randbelow", lambda _: 0x5EED - 1)
    if not same(version, "protocol"):
        with pytest.raises(DeviceError) as caught:
            client.connect(Recorded(lines), plan)  # type: ignore[arg-type]
        assert f"version {kept_numbers(version)['protocol']} of the protocol" in one_line(caught.value)
        return
    samples = load_samples(plan, KEPT / version / "data.npz", labels=True)
    chip = client.connect(Recorded(lines), plan)  # type: ignore[arg-type]
    chip.reset()
    machine = Emulator(plan)
    assert list(chip.infer(samples.packed(0)).scores) == machine.infer(samples.one(0)).scores[0].tolist()


@pytest.mark.parametrize("version", VERSIONS)
def test_its_host_speaks_with_a_chip_of_today(version: str, tmp_path: Path, unoptimised: None) -> None:
    """The bytes that it sent are answered with the bytes that it was answered, or with its number refused."""
    if process.sys.platform == "win32":
        pytest.skip("the device process is not on Windows")
    write(render(plan_of(version), load_board("mps2_an386"), "a test"), tmp_path / "out")
    lines = lines_of(version)
    with process.open(tmp_path / "out", "", None) as device:
        for asked, answered in zip(lines[::2], lines[1::2], strict=True):
            device.write(bytes.fromhex(asked.removeprefix(ASKED)))
            want, got = bytes.fromhex(answered.removeprefix(ANSWERED)), b""
            while got.count(0) < max(2, want.count(0)) and (piece := device.read(5)):
                got += piece
            if same(version, "protocol"):
                assert got == want, asked
            else:
                (reply,) = Receiver().feed(got)
                assert isinstance(reply, Reply) and reply.version == NOW["protocol"] and reply.status


# ---- later versions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["plan_version", "numeric_version"])
@pytest.mark.parametrize("said", [3, 99, 2**70, "2", None, [2], 2.0])
def test_a_plan_of_another_version_is_refused(
    number: str, said: object, tmp_path: Path, capsys: Capsys
) -> None:
    j = json.loads((KEPT / VERSION / "plan.json").read_bytes())
    j[number] = said
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(j, sort_keys=True, separators=(",", ":")), encoding="utf-8")
    told = refusal(["inspect", str(path)], capsys)
    assert "plan version" in told or "not a plan of synapcc" in told or "canonical" in told


def test_a_state_of_a_later_format_is_refused(tmp_path: Path) -> None:
    plan = plan_of(VERSION)
    with np.load(KEPT / VERSION / "state.npz") as arrays:
        content = dict(arrays)
    for said in (state.FORMAT + 1, "1", None, [1], 10**40):
        about = json.loads(str(content[state.ABOUT])) | {"format": said}
        np.savez(tmp_path / "s.npz", **content | {state.ABOUT: np.array(json.dumps(about))})
        with pytest.raises(SynapccError, match="format") as caught:
            state.load(plan, tmp_path / "s.npz")
        one_line(caught.value)


def test_a_chip_of_a_later_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.secrets, "randbelow", lambda _: 0x5EED - 1)
    later = NOW["protocol"] + 1
    with pytest.raises(DeviceError) as caught:
        client.connect(Recorded(lines_of(VERSION), later), plan_of(VERSION))  # type: ignore[arg-type]
    assert f"version {later} of the protocol, this host version {NOW['protocol']}" in one_line(caught.value)


def test_a_key_of_a_later_rule_file_is_refused(tmp_path: Path, capsys: Capsys) -> None:
    shutil.copytree(KEPT / VERSION, tmp_path / "in")
    rule = tmp_path / "in" / "rule.toml"
    for more in ("[tomorrow]\nx = 1\n", "[store2]\n"):
        rule.write_text((KEPT / VERSION / "rule.toml").read_text(encoding="utf-8") + more, encoding="utf-8")
        words = ["compile", str(tmp_path / "in" / "net.onnx"), "--rule", str(rule)]
        words += ["--calibrate", str(tmp_path / "in" / "data.npz"), "-o", str(tmp_path / "out")]
        assert "there is no key" in refusal(words, capsys)


# ---- Plans that are damaged -------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key and every element of a document, at any depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def shape(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Which place it is, whatever the element of a list."""
    return tuple("*" if isinstance(key, int) else key for key in path)


OTHERS = (None, True, -1, 3, 2**64, 1.5, "", "x", "\n\0", [], [[]], {}, {"x": 1})


def damaged(text: bytes, draw: random.Random, each: int) -> Iterator[tuple[str, bytes]]:
    """The Plan without a field, or with one of another type, `each` times at every kind of place."""
    kinds: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for path in places(json.loads(text)):
        kinds.setdefault(shape(path), []).append(path)
    for kind, paths in kinds.items():
        for cut in (True, *[False] * each):
            j, path = json.loads(text), draw.choice(paths)
            inner = j
            for key in path[:-1]:
                inner = inner[key]
            other = draw.choice(OTHERS)
            if cut:
                del inner[path[-1]]
            else:
                inner[path[-1]] = other
            changed = json.dumps(j, sort_keys=True, separators=(",", ":")).encode()
            if changed != text:
                yield f"{kind} {'cut' if cut else repr(other)}", changed


@pytest.mark.parametrize("each", [2, pytest.param(60, marks=pytest.mark.long)])
def test_a_damaged_plan_is_refused_with_one_line(each: int) -> None:
    """Or it is another Plan that is whole, such as one with another note: nothing in between."""
    text = (KEPT / VERSION / "plan.json").read_bytes()
    read, count = [], 0
    for what, changed in damaged(text, random.Random(each), each):
        count += 1
        try:
            assert load_plan(changed, "plan.json").canonical == changed
            read.append(what)
        except SynapccError as error:
            one_line(error)
    assert count > 150 and len(read) < count // 3, read


def test_a_plan_that_is_cut_off_is_refused_with_one_line() -> None:
    text = (KEPT / VERSION / "plan.json").read_bytes()
    for end in range(0, len(text), 97):
        with pytest.raises(SynapccError, match="not a plan of synapcc") as caught:
            load_plan(text[:end], "plan.json")
        one_line(caught.value)
