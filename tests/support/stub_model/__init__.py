"""A hand-made model with the API of an emitted one, and output folders around it."""

from __future__ import annotations

import shutil
from pathlib import Path

import jinja2

from synapcc.gen.target.messages import RUNTIME_VERSION
from synapcc.host.link.protocol import render_header

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
DIGEST = bytes(range(32))
CLASSES = 3


def stub_project(out: Path, beat: int = 6, classes: int = CLASSES, runtime: int = RUNTIME_VERSION) -> Path:
    """Writes an output folder: firmware, the stub with `beat` + 2 inputs, rendered headers."""
    shutil.copytree(ROOT / "firmware", out / "src", ignore=shutil.ignore_patterns("platform"))
    library = out / "lib" / "stub" / "src"
    library.mkdir(parents=True)
    header = (HERE / "stub.h").read_text()
    for name, old, new in (
        ("BEAT", 6, beat),
        ("CLASSES", CLASSES, classes),
        ("RUNTIME_VERSION", RUNTIME_VERSION, runtime),
    ):
        header = header.replace(f"#define STUB_{name} {old}\n", f"#define STUB_{name} {new}\n")
    (library / "stub.h").write_text(header)
    shutil.copy(HERE / "stub.c", library)
    include = out / "include"
    include.mkdir()
    (include / "protocol.h").write_text(render_header())
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "templates"), undefined=jinja2.StrictUndefined
    )
    binding = templates.get_template("model_binding.h.j2").render(
        model="stub", counters=(), saturated=(), label_type="uint8_t", keep=False
    )
    (include / "model_binding.h").write_text(binding)
    return out
