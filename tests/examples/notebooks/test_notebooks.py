"""The notebooks run from an empty folder and are kept without outputs; figures of matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from synapcc.examples.curves import Curve, figure
from synapcc.gen.errors import SynapccError

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ALONG = [Curve("a", {0: 50.0, 10: 60.0, 5: 70.0}, "#123456", ""), Curve("b", {}, "#000000", "", "8 5")]


def read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_there_are_two() -> None:
    assert [p.stem for p in NOTEBOOKS] == ["bring_your_network", "personalise_ecg"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    code = [c for c in read(path)["cells"] if c["cell_type"] == "code"]
    assert code and not [c for c in code if c["outputs"] or c["execution_count"] is not None or c["metadata"]]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="pip install 'synapcc[notebook]'")
    nbclient = pytest.importorskip("nbclient", reason="pip install 'synapcc[notebook]'")
    notebook = nbformat.read(path, as_version=4)
    done = nbclient.NotebookClient(
        notebook, timeout=600, startup_timeout=300, kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()  # fmt: skip
    outputs = [o for c in done.cells if c.cell_type == "code" for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"], outputs
    assert any("image/png" in o.get("data", {}) for o in outputs)


def test_a_figure_has_the_curves() -> None:
    pytest.importorskip("matplotlib", reason="pip install 'synapcc[notebook]'")
    made = figure(ALONG, [0, 5, 10], "samples")
    (axes,) = made.axes
    (line,) = axes.get_lines()
    assert line.get_label() == "a" and line.get_color() == "#123456"
    assert [tuple(p) for p in line.get_xydata()] == [(0, 50), (5, 70), (10, 60)]
    assert axes.get_xlabel() == "samples" and list(axes.get_xticks()) == [0, 5, 10]


def test_without_matplotlib_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SynapccError, match="matplotlib is missing") as caught:
        figure(ALONG, [0, 10], "samples")
    assert "\n" not in str(caught.value) and "synapcc[notebook]" in str(caught.value)
