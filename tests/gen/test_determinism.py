"""Equal inputs give equal bytes: whatever the hash seed, the folder, the locale, the umask and the time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import MappingProxyType

import pytest
from projects import Case, case, spawn
from random_nets import accepted, random_model
from untouched import touched

from synapcc.gen.ir.program import Abstract
from synapcc.gen.sets import SETS
from synapcc.gen.stages import calibrate

EVERYTHING = "[store]\nsamples = 4\n[replay]\nsamples = 6\n[decay]\nshift = 8\nevery = 4\n"


def emitted(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_compilations_elsewhere_give_the_same_bytes(tmp_path: Path) -> None:
    """The second lies and runs in another folder, with another hash seed, locale, time zone and umask."""
    for rule in ("hebbian", "dfa"):
        c = case(tmp_path / rule, rule, more=EVERYTHING, sizes=(16, 12, 10, 4))
        there = tmp_path / f"{rule} über" / "a b"
        shutil.copytree(c.folder, there)
        first, second = tmp_path / f"{rule}1", tmp_path / f"{rule}2"
        plain = {
            **os.environ,
            "PYTHONHASHSEED": "0",
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "TZ": "UTC",
            "LANG": "C",
            "OMP_NUM_THREADS": "2",
            "OPENBLAS_NUM_THREADS": "2",
        }
        other = {
            **os.environ,
            "PYTHONHASHSEED": "4242",
            "LC_ALL": "C.UTF-8",
            "TZ": "Asia/Tokyo",
            "COLUMNS": "40",
        }
        other |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TMPDIR": str(there)}
        done = spawn(c.words(first, "--quantiser"), cwd=tmp_path, env=plain)
        assert done.returncode == 0, done.stderr
        moved = Case(there / c.model.name, there / c.rule.name, there / c.data.name)
        relative = Case(*(Path(os.path.relpath(p, there)) for p in (moved.model, moved.rule, moved.data)))
        done = spawn(relative.words(second, "--quantiser"), cwd=there, env=other, umask=0o077)
        assert done.returncode == 0, done.stderr
        a, b = emitted(first), emitted(second)
        assert list(a) == list(b) and len(a) > 20
        assert [name for name in a if a[name] != b[name]] == []
        assert not [name for name, content in a.items() if str(tmp_path).encode() in content]


def test_a_network_that_was_kept_is_the_one_that_a_seed_compiles_to() -> None:
    for _ in range(2):
        for compiled, seed in accepted(0, 2):
            assert compiled.plan == random_model(seed).plan
            for proof in compiled.proofs:
                assert any(item is proof.step for item in compiled.plan.programs[proof.program].items)


def test_a_compiler_that_a_test_has_patched_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else networks that it made would be kept for other tests."""
    assert touched() == []
    for target, name in ((calibrate, "WORK"), (calibrate, "far_targets"), (Abstract, "steps")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, None)
            assert [found.split(".")[-1] for found in touched()] == [name]
    with monkeypatch.context() as patch:
        patch.setitem(SETS, "ref", MappingProxyType({}))
        assert touched() == ["synapcc.gen.sets.SETS.ref"]
    assert touched() == []
