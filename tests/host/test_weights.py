"""What the environment weighs: extras, what they share, and packages that are not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from synapcc.host import doctor, weights
from synapcc.host.cli import main

OWN = """num>=1 | Jin_ja | uni; extra == 'virtual' | zig>1 ; extra == "virtual" | data[fast]; extra == 'ecg' |
synapcc[virtual,ecg]; extra == 'dev' | absent; extra == 'dev' | old; python_version < '3'"""
REQUIRES = {
    "synapcc": [text.strip() for text in OWN.split("|")],
    "num": [],
    "jin-ja": ["mark"],
    "mark": [],
    "uni": ["num"],
    "zig": [],
    "data": ["num", "sci; extra == 'fast'", "slow; extra == 'slow'"],
    "sci": ["num"],
    "slow": [],
}
SIZES = {name: 1000 * (i + 1) for i, name in enumerate(REQUIRES)}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment of drawn packages, of a file each and one that was removed."""

    def distribution(name: str) -> SimpleNamespace:
        if name not in REQUIRES:
            raise weights.metadata.PackageNotFoundError(name)
        path = tmp_path / name
        path.write_bytes(bytes(SIZES[name]))
        return SimpleNamespace(
            files=[SimpleNamespace(locate=lambda p=p: p) for p in (path, tmp_path / "removed")]
        )

    extras = SimpleNamespace(get_all=lambda key: ["virtual", "ecg", "dev"])
    monkeypatch.setattr(weights.metadata, "distribution", distribution)
    monkeypatch.setattr(weights.metadata, "requires", lambda name: REQUIRES[name])
    monkeypatch.setattr(weights.metadata, "metadata", lambda name: extras)
    for cached in (weights._there, weights._bytes):
        cached.cache_clear()
    yield
    for cached in (weights._there, weights._bytes):
        cached.cache_clear()


def test_each_extra_weighs_what_it_adds(packages: None) -> None:
    found = {part: set(w.packages) for part, w in weights.weigh().items()}
    assert found == {
        "base": {"synapcc", "num", "jin-ja", "mark"},
        "virtual": {"uni", "zig"},
        "ecg": {"data", "sci"},
        "dev": {"uni", "zig", "data", "sci"},
        "all of them": {"synapcc", "num", "jin-ja", "mark", "uni", "zig", "data", "sci"},
    }
    parts = weights.weigh()
    assert parts["virtual"].size == SIZES["uni"] + SIZES["zig"]
    assert list(parts["ecg"].packages) == ["sci", "data"]
    text = doctor.weight_table(parts)
    assert "virtual" in text and len(text.splitlines()) == 1 + len(parts)


def test_of_this_environment(tmp_path: Path) -> None:
    assert main(["doctor", "--json", str(tmp_path / "j")]) in (0, 1)
    found = json.loads((tmp_path / "j").read_text())["weights"]
    assert {"numpy", "onnx", "synapcc"} <= found["base"]["packages"].keys()
    assert found["base"]["packages"]["numpy"] > 10_000_000
    for part in found.values():
        assert part["bytes"] == sum(part["packages"].values())
    assert not found["virtual"]["packages"].keys() & found["base"]["packages"].keys()


@pytest.mark.skipif(
    not weights._there("llvmlite"), reason="numba is not installed: pip install 'synapcc[fast]'"
)
def test_with_numba_it_stays_below_900_megabytes() -> None:
    """What a user installs to verify and to run the emulator at full speed: synapcc[virtual,fast]."""
    parts = weights.weigh()
    whole = parts["base"].packages | parts["virtual"].packages | parts["fast"].packages
    assert sum(whole.values()) < 900e6
