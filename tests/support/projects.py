"""Small networks with data, their output folders, and commands run in this process or in one of their own."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_models as om
import pytest

from synapcc.host.cli import main

RULE = 'rule = "{rule}"\nweights = "{weights}"\nrate = "2^-6"\n'


@dataclass(frozen=True)
class Case:
    """The files that a compilation takes, in one folder."""

    model: Path
    rule: Path
    data: Path

    @property
    def folder(self) -> Path:
        return self.model.parent

    def words(self, out: Path, *more: str) -> list[str]:
        """The words of a compile command."""
        files = [str(self.model), "--rule", str(self.rule), "--calibrate", str(self.data)]
        return ["compile", *files, "-o", str(out), *more]


def arrays(n: int = 60, size: int = 12, classes: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    """Samples of as many noisy patterns as there are classes."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, n)
    pattern = np.random.default_rng(99).normal(0, 1, (classes, size))
    return {"input": (pattern[label] + rng.normal(0, 0.6, (n, size))).astype(np.float32), "label": label}


def write_rule(path: Path, rule: str = "hebbian", weights: str = "int16", more: str = "") -> Path:
    path.write_text(RULE.format(rule=rule, weights=weights) + more)
    return path


def case(
    folder: Path,
    rule: str = "hebbian",
    weights: str = "int16",
    more: str = "",
    sizes: Sequence[int] = (12, 8, 3),
) -> Case:
    """A perceptron as torch would export it, a rule file and 60 samples."""
    folder.mkdir(parents=True, exist_ok=True)
    model = om.save(om.mlp(sizes), folder)
    data = folder / "data.npz"
    np.savez(data, **arrays(size=sizes[0], classes=sizes[-1]))  # type: ignore[arg-type]
    return Case(model, write_rule(folder / "rule.toml", rule, weights, more), data)


def compiled(folder: Path, *args: str, **kwargs: str) -> tuple[Case, Path]:
    """A case and its output folder."""
    made = case(folder, *args, **kwargs)
    out = folder / "out"
    assert main(made.words(out)) == 0
    return made, out


_PROGRESS = re.compile(r"^[a-z ]+ +\[#* *\] +\d+/\d+ .*\n", re.MULTILINE)
"""What work that takes seconds says of how far it is: on a slow machine before it is refused."""


def refusal(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command which must be refused says: `synapcc COMMAND: where: what; hint`."""
    capsys.readouterr()
    code = main(list(words))
    said = capsys.readouterr()
    assert code == 2, said
    line = _PROGRESS.sub("", said.err)
    assert line.endswith("\n") and line.count("\n") == 1, said.err
    assert line.startswith(f"synapcc {words[0]}: ") and "Traceback" not in line
    return line.removeprefix(f"synapcc {words[0]}: ").rstrip()


def spawn(words: Sequence[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own."""
    command = [sys.executable, "-m", "synapcc.host", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)  # type: ignore[call-overload,no-any-return]


def save(path: Path, content: Mapping[str, object]) -> Path:
    """An .npz file, pickled where it holds objects."""
    buffer = io.BytesIO()
    np.savez(buffer, **content)  # type: ignore[arg-type]
    path.write_bytes(buffer.getvalue())
    return path


def listing(folder: Path) -> set[str]:
    """Every file and folder below `folder`, hidden ones too."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}
