"""How well a rule teaches: what saturates, what rounding loses, and how far it is from backpropagation.

The emulator learns; at every sample backpropagation is asked what it would do, in real numbers, with the same
weights, the same inputs and the same label. Nothing here changes what the emulator does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.inputs import TARGET
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step, reached
from synapcc.gen.ir.walk import Active, choose, walk
from synapcc.gen.ops import kernel, layer
from synapcc.gen.ops.optimiser import Step as Optimise
from synapcc.gen.ops.statement import Matrix
from synapcc.gen.ops.statement2d import Tied, Untied
from synapcc.gen.rules import rules
from synapcc.gen.spec import Loss, RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.schedule import build

from ..link.saturation import Saturation, saturation, warning
from ..link.state import real
from ..terminal.text import table
from .emulator import Emulator
from .samples import Samples

CURVE = 100  # points of the curves, each a mean over as many steps
STATEMENTS = {Matrix.name, Tied.name, Untied.name}
Real = NDArray[np.float64]


@dataclass
class LayerHistory:
    """What one learned layer did. An entry of the lists is one step; NaN where there was nothing to compare.

    angle:  degrees between its change before rounding and backpropagation's
    stored: the same of the change that was stored
    dead:   weights whose product was not zero and whose change was, not counting those at a limit
            (of changes that add up first, the change is that of the sum)
    moved:  weights whose product was not zero
    """

    name: str
    weights: int
    angle: list[float] = field(default_factory=list)
    stored: list[float] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    moved: list[int] = field(default_factory=list)

    def begin(self) -> None:
        """A step in which nothing has happened yet."""
        for angles in (self.angle, self.stored):
            angles.append(float("nan"))
        for counts in (self.dead, self.moved):
            counts.append(0)


def _loss(plan: Plan, said: Mapping[str, Any]) -> Loss:
    """The loss of a report, with the weights of classes that the Plan has of it."""
    if "class_weights" not in said:
        return Loss(**said)
    shifts = plan["class_shifts"].array().ravel().tolist()
    return Loss(**{**said, "class_weights": tuple(shifts)})


class Backpropagation:
    """What backpropagation would change, in real numbers, at the numbers that a Plan's tensors stand for."""

    def __init__(self, plan: Plan, graph: Graph, loss: Loss) -> None:
        learned = tuple(dict.fromkeys(s.node for s in _updates(plan)))
        spec = RuleSpec("bp", layers=learned, rate=0, loss=loss)
        abstract = build(graph, spec, rules()["bp"], learned, {})
        self.machine = RealMachine(abstract.values, abstract.programs, 1)
        self.plan, self.fracs = plan, _fracs(plan)
        for name, content in self.machine.const.items():
            if name in plan:
                content[0] = self._real(name, plan[name].array())

    def _real(self, name: str, integers: NDArray[Any]) -> Real:
        if name not in self.fracs:
            return real(self.plan[name], integers)
        frac = self.fracs[name]
        return np.ldexp(integers.astype(np.float64), -(frac[:, None] if integers.ndim == 2 else frac))

    def changes(self, emulator: Emulator, names: Iterable[str]) -> dict[str, Real]:
        """The change that it subtracts from each weight in `names`, rate 1, for what the emulator holds."""
        before = {n: self._real(n, emulator[n][0]) for n in self.machine.state if n in self.plan}
        for name, content in before.items():
            self.machine.state[name][0] = content
        inputs = {n: real(self.plan[n], emulator[n]) for n in self.plan.inputs}
        if TARGET in self.plan:
            inputs[TARGET] = real(self.plan[TARGET], emulator[TARGET])
        self.machine.load(inputs | ({"label": emulator["label"]} if "label" in self.plan else {}))
        self.machine.run("adapt")
        return {n: before[n] - self.machine.state[n][0] for n in names}


def _updates(plan: Plan) -> list[Step]:
    """Steps that change a layer's weights by a product: by an update, or by an equation's statement. Feedback
    matrices that learn have the role of weights, too, but no layer runs forward with them."""
    steps = [s for _, _, s in plan.ops()]
    forward = {s.args["w"] for s in steps if s.kernel.endswith(".forward") and "w" in s.args}
    sums = _sums(plan)
    return [s for s in steps if _is_change(s) and sums.get(s.args["w"], s.args["w"]) in forward]


def _sums(plan: Plan) -> dict[str, str]:
    """The weights that change by what has added up, by the sums that hold it."""
    return {s.args["sum"]: s.args["w"] for _, _, s in plan.ops() if s.kernel == Optimise.name}


def _is_change(step: Step) -> bool:
    return step.kernel in STATEMENTS or step.kernel.endswith(".update")


def _fracs(plan: Plan) -> dict[str, NDArray[np.int32]]:
    """The frac of each row of the frozen weights and biases: what their shifts make of the accumulator."""
    out, forward = {}, reached(plan.programs, "forward")
    for program, _, step in plan.ops():
        if program in forward and "s" in step.args and "m" not in step.args:
            x, y, s = (plan[step.args[role]] for role in ("x", "y", "s"))
            rows = s.array().astype(np.int32) + y.meaning.power
            out[step.args["b"]], out[step.args["w"]] = rows, rows - x.meaning.power
    return out


def _timed_behind(graph: Graph, taught: Sequence[str]) -> bool:
    """Whether a layer that runs over time learns, or reads what one that learns has a share in."""
    reached: set[str] = set()
    for node in graph.nodes:
        if node.name in taught or not reached.isdisjoint(node.inputs):
            reached.add(node.output)
            if layer(node.op).timed:
                return True
    return False


class Diagnosis:
    """Learns samples in the emulator and keeps count. `layers`: what each learned layer did."""

    def __init__(self, plan: Plan, graph: Graph, report: Mapping[str, Any]) -> None:
        if not plan.learning:
            raise SynapccError(
                plan.model, "was compiled for inference only", "compile it with a learning rule"
            )
        self.plan, self.rule = plan, str(report["rule"]["rule"])
        if not _updates(plan):
            what = f"learns by rule {self.rule}, which has no products to hold beside backpropagation's"
            raise SynapccError(plan.model, what, "emulate --learn says what it learns and what saturates")
        taught = [n.name for n in graph.nodes if n.name in {s.node for s in _updates(plan)}]
        if _timed_behind(graph, taught):
            what = (
                f"learns by rule {self.rule} through time or below it, where backpropagation keeps no history"
            )
            raise SynapccError(plan.model, what, "emulate --learn says what it learns and what saturates")
        self.emulator = Emulator(plan)
        self._begun = False  # whether the learning step is behind its first forward pass
        self.oracle = Backpropagation(plan, graph, _loss(plan, report["rule"]["loss"]))
        updates, sums = _updates(plan), _sums(plan)
        self._weights = {s.args["w"]: sums.get(s.args["w"], s.args["w"]) for s in updates}
        weights = {s.node: self._weights[s.args["w"]] for s in updates}
        self.tensors = {n.name: weights[n.name] for n in graph.nodes if n.name in weights}
        self.layers = {n: LayerHistory(n, int(np.prod(plan[w].shape))) for n, w in self.tensors.items()}
        self.samples, self.steps, self.without_error = 0, 0, 0
        self._wanted: dict[str, Real] = {}

    def learn(self, samples: Samples, tick: Callable[[], None] = lambda: None) -> None:
        """All samples in their order; tick() after each."""
        learning = self.plan.learning
        for i in range(len(samples)):
            labels = None if samples.labels is None else samples.labels[i : i + 1]
            self._begun = False
            self.emulator.give(learning, samples.taught(i), labels)
            walk(self.plan.programs, learning, self._step, self._flag)
            self.samples += 1
            tick()

    def _flag(self, name: str, active: Active) -> Active:
        if name == "taught" and not self.emulator[name][0, 0]:
            self.without_error += 1
        return choose(self.emulator[name], active)

    def _step(self, program: str, position: int, step: Step, active: Active) -> None:
        if program == "forward" and position == 0 and not self._begun:  # a trial runs forward once more
            self._begun = True  # inputs and label are whole now, and maybe not later
            self.steps += 1
            for layer in self.layers.values():
                layer.begin()
            self._wanted = self.oracle.changes(self.emulator, self.tensors.values())
        if step.args.get("count") == "step":  # the learning step is done
            self._begun = False
        if not (_is_change(step) and step.args["w"] in self._weights):
            self.emulator.run_step(program, position)
            return
        product, before = self._product(step), self.emulator[step.args["w"]][0].astype(np.int32)
        self.emulator.run_step(program, position)
        self._count(step, product, before)

    def _product(self, step: Step) -> Real:
        """What the step is to subtract from its weights, unrounded: its real meaning, on integers."""
        k = kernel(step.kernel)
        t = {role: self._number(step.args[role]) for role in k.reads if role in step.args}
        if zero := step.attrs.get("x_zero", 0):
            t["x"] -= zero
        for role in step.args:
            if role not in (*k.reads, "twin"):
                t[role] = np.zeros((1, *self.plan[step.args[role]].shape))
        before = 0.0
        if step.kernel in STATEMENTS:  # what forgets a share of a weight depends on it
            t["w"] = self._number(step.args["w"])
            before = t["w"][0].copy()
        k.real(t, step.attrs)
        product: Real = before - t["w"][0]
        return product

    def _number(self, name: str) -> NDArray[Any]:
        """A tensor as real numbers; as it is where it holds none."""
        held = self.emulator[name]
        return held.copy() if self.plan[name].role == "kept" else held.astype(np.float64)

    def _count(self, step: Step, product: Real, before: NDArray[np.int32]) -> None:
        """Before and after one update of one layer."""
        layer, t = self.layers[step.node], self.plan[step.args["w"]]
        change = before - self.emulator[t.name][0]
        held = ((before == t.lo) & (product > 0)) | ((before == t.hi) & (product < 0))
        layer.moved[-1] = int(np.count_nonzero(product))
        layer.dead[-1] = int(np.count_nonzero((product != 0) & (change == 0) & ~held))
        wanted = self._wanted[self._weights[t.name]]
        layer.angle[-1] = angle(product, wanted)
        layer.stored[-1] = angle(change.astype(np.float64), wanted)

    # -- what came of it ------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; angles in degrees, null where there was nothing to compare."""
        met = saturation(self.plan, self.emulator.state[0])
        return {
            "model": self.plan.model,
            "digest": self.plan.digest.hex(),
            "rule": self.rule,
            "samples": self.samples,
            "steps": self.steps,
            "without_error": self.without_error,
            "layers": [
                self._layer(x, next(m for m in met if m.layer == x.name)) for x in self.layers.values()
            ],
            "warning": warning(met),
            "tensors": [self._at_limits(t.name) for t in self.plan.tensors if t.learned],
        }

    def _layer(self, x: LayerHistory, met: Saturation) -> dict[str, Any]:
        moved, dead = np.array(x.moved), np.array(x.dead)
        return {
            "layer": x.name,
            "weights": x.weights,
            "saturated": met.saturated,
            "saturated_share": met.share,
            "idle_steps": int(np.count_nonzero(moved == 0)),
            "products": int(moved.sum()),
            "dead": float(dead.sum() / moved.sum()) if moved.any() else None,
            "angle": _told(x.angle),
            "angle_stored": _told(x.stored),
            "curve": _curve(x),
        }

    def _at_limits(self, name: str) -> dict[str, Any]:
        t, v = self.plan[name], self.emulator[name][0]
        return {
            "tensor": name,
            "values": v.size,
            "at_limits": int(np.count_nonzero((v == t.lo) | (v == t.hi))),
        }


def angle(a: Real, b: Real) -> float:
    """Degrees between two changes; NaN where one of them is zero."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    if size == 0.0:
        return float("nan")
    return float(np.degrees(np.arccos(np.clip(np.vdot(a, b) / size, -1.0, 1.0))))


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _told(angles: list[float]) -> dict[str, float | None]:
    known = [a for a in angles if not np.isnan(a)]
    return {
        "first": known[0] if known else None,
        "mean": _mean(np.array(angles)),
        "last": known[-1] if known else None,
    }


def _curve(x: LayerHistory) -> list[dict[str, Any]]:
    """Means over equal parts of the run; `step` is the last of each."""
    out = []
    for part in np.array_split(np.arange(len(x.angle)), min(CURVE, len(x.angle))):
        moved, dead = np.array(x.moved)[part].sum(), np.array(x.dead)[part].sum()
        out.append(
            {
                "step": int(part[-1]) + 1,
                "angle": _mean(np.array(x.angle)[part]),
                "angle_stored": _mean(np.array(x.stored)[part]),
                "dead": float(dead / moved) if moved else None,
            }
        )
    return out


def text(found: Mapping[str, Any]) -> str:
    """What `to_dict` gave, as a person reads it."""

    def degrees(a: Mapping[str, float | None], when: str) -> str:
        return f"{a[when]:.1f}" if a[when] is not None else ""

    head = [
        "layer",
        "saturated",
        "dead",
        "idle steps",
        "angle first",
        "mean",
        "last",
        "stored first",
        "mean",
        "last",
    ]
    rows = [
        [
            x["layer"],
            f"{x['saturated']} ({100 * x['saturated_share']:.2f} %)",
            f"{100 * x['dead']:.1f} %" if x["dead"] is not None else "",
            str(x["idle_steps"]),
            *(
                degrees(x[key], when)
                for key in ("angle", "angle_stored")
                for when in ("first", "mean", "last")
            ),
        ]
        for x in found["layers"]
    ]
    held = [x for x in found["tensors"] if x["at_limits"]]
    limits = ", ".join(f"{x['tensor']} {x['at_limits']} of {x['values']}" for x in held) or "none"
    told = [f"warning: {found['warning']}"] if found["warning"] else []
    return "\n".join(
        [
            f"{found['model']}, rule {found['rule']}: {found['samples']} samples, {found['steps']} steps, "
            f"{found['without_error']} of them without an error",
            "",
            *table(head, rows),
            "",
            f"values at their limits at the end: {limits}",
            "saturated: how often a learned value was held at its limit, and the share of all its updates",
            "dead: weights whose product was not zero and whose rounded change was; idle: nothing to change",
            "angle: degrees from backpropagation's change, before rounding; stored: after it",
            *told,
        ]
    )
