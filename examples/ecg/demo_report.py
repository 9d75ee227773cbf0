"""The demo's results as JSON, as lines of text and as one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from synapcc.gen.compile import Compiled
from synapcc.gen.equations import rule_of
from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.spec import rule_text
from synapcc.host.firmware.build import BuildResult
from synapcc.host.pages import charts, facts
from synapcc.host.pages import html as page
from synapcc.host.pages.charts import Lane, Line
from synapcc.host.pages.html import Part
from synapcc.host.terminal.text import table

from . import beats, choices, protocol, records
from .demo import Cast, Lesson, School

HERE = Path(__file__).resolve().parent
LABELS = protocol.LABELS
_RECENT = 25  # beats that a point of the learning curve looks back on
_SOON = 10  # beats after which the curve begins: a share of three says nothing
_CHANGED = {"fixed": 8, "broken": 4}  # beats shown per patient, at most
_KINDS = {
    "weight": "weights",
    "feedback": "feedback weights",
    "store": "kept beats of the wearer",
    "code": "code",
    "arena": "arena",
    "link": "link and firmware",
    "stack": "stack",
    "small": "biases, counters, all else",
}


@dataclass(frozen=True)
class Run:
    """Everything a report tells of."""

    who: Cast
    model: str
    compiled: Compiled
    built: BuildResult | None
    chip: str
    passes: int
    school: School
    lessons: Sequence[Lesson]
    seconds: float
    line: str


def to_dict(run: Run, timing: bool = False) -> dict[str, Any]:
    """Ready for JSON. timing: with how long it took, which no two runs have in common."""
    school = run.school
    whole = {"seconds": run.seconds} if timing else {}
    return whole | {
        "real": run.who.real, "data": run.who.told, "chip": run.chip, "rule": run.compiled.spec.to_dict(),
        "passes": run.passes, "plan": run.compiled.plan.digest.hex(),
        "steps": school.steps, "rehearsals": school.rehearsals, "inferences": school.inferences,
        "differing": 0, "memory": facts.memory(run.compiled.plan),
        "flash": run.built.flash if run.built else None, "ram": run.built.ram if run.built else None,
        "stack": run.built.stack.bytes if run.built else None,
        "patients": {lesson.name: _patient(lesson, timing) for lesson in run.lessons},
    }  # fmt: skip


def _patient(lesson: Lesson, timing: bool) -> dict[str, Any]:
    sides: dict[str, Any] = {"seconds": lesson.seconds} if timing else {}
    for side, winners in (("before", lesson.before), ("after", lesson.after)):
        matrix = lesson.matrix(winners)
        s = protocol.scores(matrix)
        ratios = {
            n: {
                label: None if np.isnan(v) else float(v)
                for label, v in zip(LABELS, getattr(s, n), strict=True)
            }
            for n in ("sen", "ppr", "f1")
        }
        sides[side] = {"accuracy": s.accuracy, "confusion": matrix.tolist(), **ratios}
    return {
        **sides, "learned": len(lesson.learn), "tested": len(lesson.test), "fixed": len(lesson.fixed),
        "broken": len(lesson.broken), "rehearsals": lesson.rehearsals,
    }  # fmt: skip


def class_rows(lesson: Lesson) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of a table: beats, and Sen, Ppr and F1 of each class before and after, in percent."""
    before, after = (protocol.scores(lesson.matrix(w)) for w in (lesson.before, lesson.after))
    count = np.bincount(lesson.test.label, minlength=len(LABELS))
    rows = []
    for c, label in enumerate(LABELS):
        cells = [_percent(getattr(s, n)[c]) for n in ("sen", "ppr", "f1") for s in (before, after)]
        rows.append([label, str(count[c]), *cells])
    return ["class", "beats", "Sen before", "after", "Ppr before", "after", "F1 before", "after"], rows


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"


def _accuracies(lesson: Lesson) -> tuple[str, str]:
    shares = [float(np.mean(w == lesson.test.label)) for w in (lesson.before, lesson.after)]
    return f"{100 * shares[0]:.1f} %", f"{100 * shares[1]:.1f} %"


def worse(lesson: Lesson) -> str:
    """The classes whose F1 fell, in percent: "S 57.1 -> 0.0"; "" if there is none."""
    before, after = (protocol.scores(lesson.matrix(w)).f1 for w in (lesson.before, lesson.after))
    told = []
    for c, label in enumerate(LABELS):
        annotated = bool((lesson.test.label == c).any())
        if annotated and np.nan_to_num(after[c]) < np.nan_to_num(before[c]):
            told.append(f"{label} {_percent(before[c])} -> {_percent(after[c])}")
    return ", ".join(told)


def text(lesson: Lesson, state_bytes: int) -> str:
    """One patient as a person reads it."""
    before, after = _accuracies(lesson)
    again = f"{lesson.rehearsals} rehearsal{'' if lesson.rehearsals == 1 else 's'}"
    lines = [
        f"patient {lesson.name}: accuracy {before} -> {after} of {len(lesson.test)} beats; "
        f"{len(lesson.fixed)} fixed, {len(lesson.broken)} broken",
        f"  {len(lesson.learn)} beats learned, {again} of them; "
        f"{state_bytes} bytes of persistent RAM; {lesson.seconds:.0f} s",
    ]
    head, rows = class_rows(lesson)
    lost = [f"  worse than before, in F1: {worse(lesson)}"] if worse(lesson) else []
    return "\n".join([*lines, *(f"  {line}" for line in table(head, rows)), *lost])


def html(run: Run) -> str:
    """The whole page."""
    plan, measured = run.compiled.plan, facts.measure(run.compiled)
    rule = rule_of(run.compiled.spec)
    flash, ram = memory_parts(plan, run.built)
    board = run.compiled.board
    return page.render(
        "ecg.html.j2",
        {
            "run": run,
            "patients": [_patient_view(run, lesson) for lesson in run.lessons],
            "plan": plan,
            "rule": rule,
            "known": run.model in choices.MODELS,
            "spec": rule_text(run.compiled.spec.to_dict()),
            "numbers": _numbers(measured),
            "layers": _layers(measured),
            "flash": _memory(flash, board.flash.size if board else None, "Flash"),
            "ram": _memory(ram, board.ram.size if board else None, "RAM"),
            "board": board,
            "citation": records.CITATION,
            "latency": beats.LATENCY,
            "recent": _RECENT,
        },
        HERE,
    )


def _numbers(measured: dict[str, Any]) -> Markup:
    rows = [
        [x["tensor"], x["dtype"], x["q"], f"±{x['limit'] * 2.0 ** -int(x['q'][1:]):.4g}", f"{x['bytes']:,}"]
        for x in measured["learning"]
    ]
    return page.table(["learned tensor or signal", "type", "format", "limit, about", "bytes"], rows, left=2)


def _layers(measured: dict[str, Any]) -> Markup:
    rows = []
    for x in measured["layers"]:
        low, high = x["range"]
        cells = [f"{x['scale']:g}", f"{low} to {high}", f"{100 * x['saturated']:.2f} %"]
        rows.append([x["layer"], x["q"], *cells])
    return page.table(["layer", "format", "one unit is", "integers", "at a limit in calibration"], rows)


def _patient_view(run: Run, lesson: Lesson) -> dict[str, Any]:
    before, after = _accuracies(lesson)
    head, rows = class_rows(lesson)
    shown = [(int(i), True) for i in _spread(lesson, lesson.fixed, _CHANGED["fixed"])]
    shown += [(int(i), False) for i in _spread(lesson, lesson.broken, _CHANGED["broken"])]
    return {
        "lesson": lesson,
        "why": run.who.why(lesson.name),
        "before": before,
        "after": after,
        "worse": worse(lesson).replace("->", "→"),
        "bars": [share.replace(" ", "") for share in (before, after)],
        "matrices": [
            page.confusion(lesson.matrix(w).tolist(), LABELS, title)
            for title, w in (("before learning", lesson.before), ("after learning", lesson.after))
        ],
        "classes": page.table(head, rows),
        "curve": _curve(lesson),
        "changed": [_beat(lesson, i, good) for i, good in shown],
    }


def _spread(lesson: Lesson, which: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Up to `most` of the beats `which`, spread over time, each way of changing in turn."""
    kinds: dict[tuple[int, int, int], list[int]] = {}
    for i in which:
        way = (int(lesson.test.label[i]), int(lesson.before[i]), int(lesson.after[i]))
        kinds.setdefault(way, []).append(int(i))
    order = sorted(kinds.values(), key=lambda members: -len(members))
    picked: list[int] = []
    for turn in range(most):
        for members in order:
            if turn < len(members) and len(picked) < most:
                picked.append(members[turn * len(members) // most] if len(members) > most else members[turn])
    return np.array(sorted(picked, key=lambda i: (lesson.test.label[i], i)), np.int64)


def _beat(lesson: Lesson, i: int, good: bool) -> dict[str, Any]:
    label = LABELS[lesson.test.label[i]]
    seconds = int(lesson.test.sample[i]) // records.FS
    return {
        "wave": charts.wave(lesson.test.beat[i].tolist(), beats.LIMIT, label),
        "label": label,
        "before": LABELS[lesson.before[i]],
        "after": LABELS[lesson.after[i]],
        "good": good,
        "time": f"{seconds // 60}:{seconds % 60:02d}",
    }


def _curve(lesson: Lesson) -> Markup:
    """What the chip said just before it learned each beat, beside what it says without learning."""
    minute = lesson.learn.sample / (60 * records.FS)
    lines = []
    for label, tone, winners in (
        ("while it learns", "good", lesson.said),
        ("as compiled", "grey", lesson.naive),
    ):
        right = np.concatenate([[0], np.cumsum(winners == lesson.learn.label)])
        end = np.arange(1, len(right))
        start = np.maximum(end - _RECENT, 0)
        mean = (right[end] - right[start]) / (end - start)
        points = list(zip(minute.tolist(), mean.tolist(), strict=True))
        lines.append(Line(label, tone, points[min(_SOON, len(points)) - 1 :]))
    lanes = []
    for c, label in enumerate(LABELS):
        of_class = lesson.learn.label == c
        wrong = (lesson.said != lesson.learn.label)[of_class]
        lanes.append(Lane(label, label, minute[of_class].tolist(), wrong.tolist()))
    least = min((y for line in lines for _, y in line.points), default=0.0)
    minutes = charts.axis(0, protocol.LEARN_SECONDS // 60, "minute", exact=True)
    told = f"share of the last {_RECENT} beats that were right, over the five minutes"
    return charts.chart(lines, lanes, minutes, charts.shares(least), told=told)


def memory_parts(plan: Plan, built: BuildResult | None) -> tuple[list[Part], list[Part]]:
    """(flash, RAM) of the firmware, piece by piece; without a build, what the Plan itself takes."""
    initial = [t for t in plan.space("state") if t.data is not None and any(t.data)]
    flash = [_part(t, "initial value") for t in initial] + [_part(t, "constant") for t in plan.space("const")]
    ram = [_part(t, "") for t in plan.space("state")]
    ram.append(Part("arena", "arena", plan.arena_bytes, "what lives within one program run"))
    if not plan.shared:
        ram.append(
            Part("arena of infer", "arena", plan.infer_arena_bytes, "so that it may interrupt learning")
        )
    if built:
        code = built.flash - sum(p.bytes for p in flash)
        flash.insert(0, Part("code", "code", code, "network, learning rule, link and start-up"))
        rest = built.ram - sum(p.bytes for p in ram)
        ram.append(Part("link and firmware", "link", rest, "buffers of the serial link, inputs and outputs"))
        if built.stack.bytes:
            ram.append(Part("stack", "stack", built.stack.bytes, "at worst, by analysis of the program"))
    flash.sort(key=lambda p: -p.bytes)
    ram.sort(key=lambda p: -p.bytes)
    return flash, ram


def _part(t: PlanTensor, note: str) -> Part:
    dims = "×".join(map(str, t.shape))
    kind = "store" if t.use == "stored" else "feedback" if t.name.endswith("_feedback") else "small"
    tone = "weight" if t.role == "weight" and kind == "small" else kind
    what = {"store": "kept beats of the wearer"}.get(kind, t.about)
    told = ", ".join(w for w in (f"{t.dtype} {dims}", what, note) if w)
    return Part(t.name, tone, t.nbytes, told)


def _memory(parts: list[Part], size: int | None, title: str) -> dict[str, Any]:
    used = sum(p.bytes for p in parts)
    of_board = [Part("used", "code", used), Part("free", "free", size - used)] if size else []
    return {
        "used": used,
        "size": size,
        "board": page.strip(of_board, f"{title} of the board: {used:,} of {size:,} bytes") if size else "",
        "strip": page.strip(parts, f"{title} in use, {used:,} bytes, to scale", _KINDS),
        "table": page.part_table(parts),
    }
