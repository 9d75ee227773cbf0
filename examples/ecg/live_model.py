"""The model of `synapcc demo ecg --live`, compiled, and kept where it was made of these very sources before.

The front end is fronts/stream.toml, the network the base that was trained on what it makes of DS1, the rule
file that which personalises it. Its windows wait on the chip for a label, which comes late: by a button, or
of the annotations.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import synapcc.gen
from synapcc.gen import emit
from synapcc.gen.compile import compile_model
from synapcc.gen.emit.templates import ROOT
from synapcc.gen.errors import SynapccError
from synapcc.gen.ops import kernels
from synapcc.gen.rules import rules
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.gen.spec.mark import Mark
from synapcc.gen.target.boards import load_board
from synapcc.host import cache
from synapcc.host.run.plans import read_plan

from . import beats, evaluate, protocol, synthetic
from .choices import STREAM, STREAM_MODEL
from .front import FRONTS
from .streamed import FRONT, front

PENDING = 16
"""Beats that wait on the chip for a label: ten seconds of a fast heart."""
WITHIN = 150.0
"""Milliseconds that a label's moment may lie from its beat."""
KEPT = 4
"""Projects that stay in the cache."""
SYNTHETIC_SEEDS, SYNTHETIC_MINUTES = range(1001, 1005), 10.0
"""Patients whom nobody is shown, for the number formats where no data are."""


def project(real: bool, rule: str, board: str) -> Path:
    """The compiled project's folder, below the cache. real: of recorded data

    SynapccError: the rule, or a cache that cannot be written.
    """
    spec = rule_spec(rule)
    model = evaluate.model_path(STREAM_MODEL, "A", FRONTS[STREAM])
    found = load_board(board)
    place = cache.folder() / "live" / _mark(model, repr((real, spec, found)))
    if not _whole(place):
        shutil.rmtree(place, ignore_errors=True)
        compiled = compile_model(model, spec, _calibration(real), found)
        title = f"{spec.rule} on {len(compiled.learned)} of {len(compiled.graph.nodes)} layers"
        sources = {n.name: n.source for n in compiled.graph.nodes if n.source}
        files = emit.render(compiled.plan, compiled.board, "synapcc demo ecg --live", title, sources)
        _put(files, place)
    os.utime(place)
    return place


def _whole(place: Path) -> bool:
    """Whether a folder of the cache holds a project that can be read."""
    try:
        read_plan(place)
    except (SynapccError, OSError):
        return False
    return True


def copied(project: Path, out: Path) -> Path:
    """A folder of the user's with the project, to build and flash it: made, or met again.

    SynapccError where it holds something else, or cannot be written.
    """
    if not (out / "plan.json").is_file():
        texts = [p for p in project.rglob("*") if p.is_file() and ".build" not in p.parts]
        emit.write({p.relative_to(project).as_posix(): p.read_bytes() for p in texts}, out)
        return out
    for path in (p for p in project.rglob("*") if p.is_file() and not {".build", ".pio"} & {*p.parts}):
        name = path.relative_to(project).as_posix()
        if not (out / name).is_file() or (out / name).read_bytes() != path.read_bytes():
            what = f"holds another project than this one: {name} differs"
            raise SynapccError(str(out), what, "choose another folder, or remove it")
    return out


def rule_spec(rule: str) -> RuleSpec:
    """A rule file for a stream whose beats are labelled late. SynapccError: one that learns nothing."""
    spec = evaluate.rule_spec(rule, STREAM_MODEL)
    if spec.frontend:
        raise SynapccError("--rule", f"{rule} has a [frontend], and the page brings its own", "leave it out")
    if spec.rule == INFERENCE_ONLY:
        raise SynapccError("--rule", f"{rule} learns nothing", "choose a rule that learns: synapcc rules")
    return replace(spec, frontend=front(), mark=Mark(PENDING, WITHIN, deny=True), store=None, replay=None)


def _put(files: Mapping[str, bytes], place: Path) -> None:
    """A project into the cache, where the oldest ones go."""
    try:
        emit.write(files, place)
    except SynapccError as error:
        if not (place / "plan.json").is_file():  # nobody else was faster
            raise SynapccError(error.where, error.what, "set XDG_CACHE_HOME to a folder of yours") from None
    others = sorted((p for p in place.parent.iterdir() if p != place), key=lambda p: p.stat().st_mtime)
    for old in others[: -KEPT + 1]:
        shutil.rmtree(old, ignore_errors=True)


def _mark(model: Path, asked: str) -> str:
    """A digest of all that a project follows from: the compiler, what it prints, the network, what is asked
    for."""
    mark = hashlib.sha256(f"{asked} {np.__version__} {sys.version}".encode())
    gen = Path(next(iter(synapcc.gen.__path__)))
    here = Path(__file__).parent
    folders = (gen, ROOT / "templates", ROOT / "firmware", here / "rules")
    own = {Path(inspect.getfile(type(one))) for one in (*rules().values(), *kernels().values())}
    texts = sorted({*own, *(p for f in folders for p in f.rglob("*") if p.is_file() and p.suffix != ".pyc")})
    for path in (*texts, *sorted(here.glob("*.py")), FRONT, model):
        mark.update(path.read_bytes())
    return mark.hexdigest()[:16]


def _calibration(real: bool) -> Mapping[str, NDArray[Any]]:
    """Beats that set the number formats: of DS1, or of synthetic patients."""
    if real:
        return protocol.A.calibration()
    drawn = [beats.extract(synthetic.record(seed, SYNTHETIC_MINUTES)) for seed in SYNTHETIC_SEEDS]
    pool = beats.join(drawn)
    chosen = pool.take(protocol.balanced(pool, protocol.CALIBRATION, 0))
    return {**chosen.inputs(), "label": chosen.label}
