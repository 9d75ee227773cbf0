"""rule.toml -> RuleSpec: what learns, by which rule, with which numbers. A typo is an error, not a default.

Rates are stored as k of 2^-k. Which rules there are, and which layers the network has, is not known here: the
names of the rules are handed in, and `select_layers` compares the layers with the graph's.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import CompileError
from ..files.userfile import read_text
from ..words import nearest, short, what_is
from .anomaly import Anomaly as Anomaly
from .anomaly import read_anomaly
from .freeze import Freeze as Freeze
from .freeze import read_freeze
from .frontend import Blocks, in_order, read_frontend
from .frontend import FrontEnd as FrontEnd
from .guard import Guard as Guard
from .guard import read_guard
from .keep import Keep as Keep
from .keep import read_keep
from .loss import EVEN as EVEN
from .loss import MSE as MSE
from .loss import PLAIN, loss_table, read_loss
from .loss import Loss as Loss
from .mark import Mark as Mark
from .mark import read_mark
from .optimiser import Accumulate as Accumulate
from .optimiser import Momentum as Momentum
from .optimiser import read_accumulate, read_momentum
from .options import Option, Setting, read_options
from .own import OWN as OWN
from .own import UNTAUGHT, Teach, Traces, Update, own_equations, own_tables, read_own
from .pseudo import Pseudo as Pseudo
from .pseudo import read_pseudo
from .schedule import MAX_RATE_SHIFT as MAX_RATE_SHIFT
from .schedule import Schedule as Schedule
from .schedule import read_schedule
from .sparse import Share as Share
from .sparse import Sparse, read_sparse, sparse_table
from .state import State as State
from .state import read_state
from .store import BALANCED as BALANCED
from .store import OLDEST as OLDEST
from .store import Store as Store
from .store import read_store
from .table import Table, exponent

INFERENCE_ONLY = "none"
OF_LEARNING = (
    *("loss", "feedback", "decay", "replay", "store", "guard", "schedule"),
    *("accumulate", "momentum", "freeze", "anomaly", "sparse", "pseudo", "keep", "mark"),
)
"""Tables that the rule `none` refuses."""
OUTSIDE = "; one of your own is made known by --rule-path FILE.py"
FAST, BEST = MODES = "fast", "best"
"""How integers are chosen: gen.stages.choose."""
LEARN, INFER = LIBRARIES = "learn", "infer"
"""What an emitted library is for: gen.emit.role."""
ALL, DENSE = "all", "dense"  # what `layers` may say in place of names
DEFAULT_RATE_SHIFT = 6
MAX_FILE = 1 << 20
MAX_CLASSES = 2**16  # of a new classifier: what labels can number
MOST_IMPRINTED = 8  # samples of a class that make a row
STARTS = "he", "glorot", "uniform", "zero"  # what `init` may say


@dataclass(frozen=True, slots=True)
class Feedback:
    """Where feedback matrices come from, where they are kept ("": the rule's own choice), and their factor.

    gain is a power of two.
    """

    init: str = "random"
    storage: str = ""
    gain: float = 1.0


@dataclass(frozen=True, slots=True)
class Decay:
    """Learned tensors lose 2^-shift of themselves every `every` learning steps."""

    shift: int = 10
    every: int = 256


@dataclass(frozen=True, slots=True)
class Replay:
    """`samples` base examples in flash, of which one is learned again per `every` new samples."""

    samples: int
    every: int = 1


@dataclass(frozen=True, slots=True)
class Arena:
    """Whether `infer` works in the arena of all programs, or has one of its own and may interrupt them."""

    shared: bool = True


@dataclass(frozen=True, slots=True)
class Head:
    """The classifier that takes the place of the network's last layer.

    classes: how many rows it has; "+2" keeps those that there are and adds two; "" leaves them as they are
    append:  it stands behind the network's output, which is no classifier
    init:    what new rows start from
    imprint: from how many first samples the program `imprint` makes a row; 0: there is no such program
    """

    classes: int | str = ""
    append: bool = False
    init: str = "zero"
    imprint: int = 0

    @property
    def keeps(self) -> bool:
        """Whether the rows that there are stay."""
        return isinstance(self.classes, str)

    @property
    def new(self) -> int:
        """How many rows are new."""
        return int(self.classes or 0)


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """A validated rule file. `rate`: k of 2^-k; `rates`: of single layers.

    layers: names, or "dense" for all dense layers, or "all" for every layer with weights
    untied: convolutions that get weights of their own at every position
    sparse: (layer, which of its rows learn)
    init: what the weights of the layers that learn start from, in place of the file's; "": the file's
    update, teach, trace: the equations of a rule of one's own
    """

    rule: str
    layers: tuple[str, ...] | str = DENSE
    weights: str = "int16"
    rate: int = DEFAULT_RATE_SHIFT
    rates: tuple[tuple[str, int], ...] = ()
    rounding: str = "stochastic"
    headroom: float = 2.0
    seed: int = 1
    loss: Loss = PLAIN
    feedback: Feedback = Feedback()
    decay: Decay | None = None
    replay: Replay | None = None
    store: Store | None = None
    guard: Guard | None = None
    untied: tuple[str, ...] = ()
    options: tuple[tuple[str, Setting], ...] = ()
    arena: Arena = Arena()
    head: Head | None = None
    init: str = ""
    schedule: Schedule | None = None
    accumulate: Accumulate | None = None
    momentum: Momentum | None = None
    freeze: Freeze | None = None
    anomaly: Anomaly | None = None
    sparse: Sparse = ()
    pseudo: Pseudo | None = None
    update: Update | None = None
    teach: Teach = UNTAUGHT
    trace: Traces = ()
    keep: Keep | None = None
    frontend: FrontEnd | None = None
    mark: Mark | None = None
    state: State | None = None

    @property
    def equations(self) -> tuple[tuple[str, str], ...]:
        """Those of a rule of one's own: what each is called in the rule file, and its text."""
        return own_equations(self.update, self.teach, self.trace)

    @property
    def numbers(self) -> bool:
        """Whether numbers are learned, and no classes."""
        return self.rule != INFERENCE_ONLY and self.loss.kind == MSE

    @property
    def itself(self) -> bool:
        """Whether these numbers are the network's own input."""
        return self.numbers and self.loss.target == "input"

    def rate_of(self, layer: str) -> int:
        """k of the layer's rate 2^-k."""
        return dict(self.rates).get(layer, self.rate)

    def to_dict(self) -> dict[str, Any]:
        """The spec as the rule file would say it with every default written out. parse_spec reads it back."""
        raw = {key: value for key, value in asdict(self).items() if value is not None}
        del raw["rates"]
        own = own_tables(raw, self.trace)
        raw = {k: v for k, v in raw.items() if k not in ("update", "teach", "trace")} | own
        if self.untied:
            raw["untied"] = list(self.untied)
        else:
            del raw["untied"]
        raw["options"] = dict(self.options)
        if not self.options:
            del raw["options"]
        raw["layers"] = self.layers if isinstance(self.layers, str) else list(self.layers)
        rates = {"default": _rate_text(self.rate), **{name: _rate_text(k) for name, k in self.rates}}
        raw["rate"] = rates if self.rates else rates["default"]
        if not self.init:
            del raw["init"]
        if self.schedule:
            raw["schedule"]["at"] = list(self.schedule.at)
        if self.keep and not self.keep.blocks:
            del raw["keep"]["blocks"]
        if self.frontend:
            raw["frontend"] = self.frontend.to_dict()
        if self.anomaly and not self.anomaly.block:
            raw["anomaly"] = {k: v for k, v in raw["anomaly"].items() if k not in ("gain", "patience")}
        if not self.feedback.storage:
            del raw["feedback"]["storage"]
        if self.head and not self.head.classes:
            del raw["head"]["classes"]
        raw["loss"] = loss_table(self.loss)
        raw["sparse"] = sparse_table(self.sparse)
        if not self.sparse:
            del raw["sparse"]
        return raw

    def canonical(self) -> str:
        """One line of JSON with sorted keys: equal for rule files that say the same values."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))


def rule_text(raw: Mapping[str, Any]) -> str:
    """The rule file that says `raw`, which is what `to_dict` gives or a report keeps of it under "rule"."""
    order = [f.name for f in fields(RuleSpec)]
    if raw["rule"] == INFERENCE_ONLY:
        raw = without_learning(raw)
    sections = {key: dict(sorted(v.items())) if isinstance(v, Mapping) else v for key, v in raw.items()}
    if "frontend" in sections:
        sections["frontend"] = in_order(raw["frontend"])
    import tomli_w  # only who writes needs it: `synapcc --help` reads the names of modes from here

    return tomli_w.dumps({key: sections[key] for key in sorted(raw, key=order.index)})


def without_learning(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A rule file without what the rule `none` refuses: what says how something learns."""
    return {key: value for key, value in raw.items() if key not in (*OF_LEARNING, "init", "options")}


def load_spec(
    path: Path | str, known_rules: Mapping[str, Sequence[Option]], known_blocks: Blocks | None = None
) -> RuleSpec:
    """Reads a rule file. Raises CompileError, naming the file, for whatever is wrong with it."""
    text = read_text(Path(path), MAX_FILE, CompileError, "give a rule file in TOML: synapcc docs RULES")
    return parse_spec(text, str(path), known_rules, known_blocks)


def parse_spec(
    text: str,
    where: str,
    known_rules: Mapping[str, Sequence[Option]],
    known_blocks: Blocks | None = None,
) -> RuleSpec:
    """The spec in `text`, called `where` in messages.

    known_rules: the options of every rule but "none", by its name
    known_blocks: the options of every kind of block of a front end, by its kind
    """
    try:
        raw = tomllib.loads(text)
    # TOMLDecodeError is a ValueError; so is an integer of 5,000 digits.
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise CompileError(where, f"is no TOML: {reason}", "see synapcc docs RULES for examples") from None
    keys = tuple(f.name for f in fields(RuleSpec) if f.name != "rates")
    table = Table(where, "", raw, keys)
    update, teach, trace = read_own(table)
    rule = OWN if update else table.choice("rule", sorted({*known_rules, INFERENCE_ONLY}), None, OUTSIDE)
    rate, rates = _rates(table)
    _nothing_taught(table, rule)
    loss = read_loss(table) if "loss" in raw else Loss()
    return RuleSpec(
        rule=rule,
        layers=_layers(table) if "layers" in raw else DENSE,
        untied=_names(table, "untied", "give a list of convolutions") if "untied" in raw else (),
        options=read_options(table, "options", rule, known_rules.get(rule, ())),
        weights=table.choice("weights", ("int16", "int8"), "int16"),
        rate=rate,
        rates=rates,
        rounding=table.choice("rounding", ("stochastic", "nearest", "dither"), "stochastic"),
        headroom=table.number("headroom", 1.0, 16.0, 2.0),
        seed=table.integer("seed", 0, 2**32 - 1, 1),
        loss=loss,
        feedback=_feedback(table.table("feedback", Feedback)) if "feedback" in raw else Feedback(),
        decay=_decay(table.table("decay", Decay)) if "decay" in raw else None,
        replay=_replay(table.table("replay", Replay)) if "replay" in raw else None,
        store=read_store(table, loss.kind != MSE) if "store" in raw else None,
        guard=read_guard(table) if "guard" in raw else None,
        arena=_arena(table.table("arena", Arena)) if "arena" in raw else Arena(),
        head=_head(table.table("head", Head)) if "head" in raw else None,
        init=_init(table, rule),
        schedule=read_schedule(table, max([rate, *(k for _, k in rates)])) if "schedule" in raw else None,
        accumulate=read_accumulate(table),
        momentum=read_momentum(table),
        freeze=read_freeze(table),
        anomaly=read_anomaly(table),
        sparse=read_sparse(table),
        pseudo=read_pseudo(table),
        update=update,
        teach=teach,
        trace=trace,
        keep=read_keep(table) if "keep" in raw else None,
        frontend=read_frontend(table, known_blocks or {}),
        mark=read_mark(table),
        state=read_state(table),
    )


def select_layers(spec: RuleSpec, weighted: Sequence[str], dense: Sequence[str]) -> tuple[str, ...]:
    """The layers that learn, of those with weights, in the graph's order.

    CompileError for one that the network does not have.
    """
    if spec.rule == INFERENCE_ONLY:
        return ()
    named = () if isinstance(spec.layers, str) else spec.layers
    for key, names in (("layers", named), ("rate", [name for name, _ in spec.rates])):
        for name in names:
            if name not in weighted:
                hint = f"{nearest(name, weighted)}the network has {', '.join(weighted)}"
                raise CompileError(key, f'the network has no layer with weights "{short(name)}"', hint)
    among = {ALL: weighted, DENSE: dense}[spec.layers] if isinstance(spec.layers, str) else spec.layers
    chosen = tuple(n for n in weighted if n in among)
    if not chosen:
        hint = f'layers = "all" has {", ".join(weighted)}' if weighted else "nothing in it can learn"
        raise CompileError("layers", "the network has no dense layer", hint)
    idle = [name for name, _ in spec.rates if name not in chosen]
    if idle:
        what = f'layer "{idle[0]}" has a rate but does not learn'
        raise CompileError("rate", what, f"add it to layers, which are {', '.join(chosen)}, or drop its rate")
    return chosen


def _feedback(table: Table) -> Feedback:
    init = table.choice("init", ("random", "ternary", "aligned"), "random")
    storage = table.choice("storage", ("flash", "ram", "generated"), "")
    if init == "aligned" and storage == "generated":
        what = 'is "generated", but an aligned matrix comes from the trained weights and cannot be'
        raise table.error("storage", what, 'allowed with init = "aligned" are "flash", "ram"')
    return Feedback(init, storage, table.power_of_two("gain", -6, 6, 1.0))


def _decay(table: Table) -> Decay:
    shift, every = table.integer("shift", 1, 15, 10), table.integer("every", 1, 2**20, 256)
    if every & (every - 1):
        raise table.error("every", f"is {every}", f"give a power of two from 1 to {2**20}")
    return Decay(shift, every)


def _nothing_taught(table: Table, rule: str) -> None:
    """CompileError where nothing learns, and the rule file says how."""
    for key in OF_LEARNING if rule == INFERENCE_ONLY else ():
        if table.get(key) is not None:
            raise table.error(key, f'is there, and under rule "{rule}" nothing learns', "choose a rule")


def _init(table: Table, rule: str) -> str:
    init = table.choice("init", STARTS, "")
    if init and rule == INFERENCE_ONLY:
        raise table.error("init", f'is "{init}", and under rule "{rule}" nothing learns', "choose a rule")
    return init


def _replay(table: Table) -> Replay:
    return Replay(table.integer("samples", 1, 4096, None), table.integer("every", 1, 1024, 1))


def _arena(table: Table) -> Arena:
    return Arena(table.flag("shared", True))


def _head(table: Table) -> Head:
    value, init = table.get("classes"), table.choice("init", ("zero", "prototypes", "random"), "zero")
    append, imprint = table.flag("append", False), table.integer("imprint", 0, MOST_IMPRINTED, 0)
    more = isinstance(value, str) and re.fullmatch(r"\+[1-9]\d{0,4}", value, re.ASCII)
    how = 'give the number of classes, or "+2" to add two to those there are'
    if isinstance(value, str) and not more:
        raise table.error("classes", f"is {what_is(value)}", how)
    if value is not None and not more:
        table.integer("classes", 1, MAX_CLASSES, None)
    if more and append:
        what = f"is {what_is(value)}, but a classifier behind the output has no rows to keep"
        raise table.error("classes", what, "give the number of classes")
    if value is None and (append or not imprint):
        raise table.error("classes", "is missing", how)
    return Head("" if value is None else value, append, init, imprint)  # type: ignore[arg-type]


def _layers(table: Table) -> tuple[str, ...] | str:
    value = table.get("layers")
    if value in (ALL, DENSE):
        return str(value)
    return _names(table, "layers", f'give "{DENSE}", "{ALL}" or a list of layer names')


def _names(table: Table, key: str, hint: str) -> tuple[str, ...]:
    """A list of names that is not empty, each once."""
    value = table.get(key)
    hint = f"{hint}, each once"
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise table.error(key, f"is {what_is(value)}", hint)
    if len(set(value)) < len(value):
        twice = next(v for v in value if value.count(v) > 1)
        raise table.error(key, f"names {what_is(twice)} twice", hint)
    return tuple(value)


def _rates(table: Table) -> tuple[int, tuple[tuple[str, int], ...]]:
    value = table.get("rate")
    if not isinstance(value, dict):
        return (DEFAULT_RATE_SHIFT if value is None else _rate(table, "rate", value)), ()
    shifts = {name: _rate(table, f"rate.{short(name)}", rate) for name, rate in value.items()}
    default = shifts.pop("default", DEFAULT_RATE_SHIFT)
    return default, tuple(sorted(shifts.items()))


def _rate(table: Table, key: str, value: object) -> int:
    """k, from "2^-k" or from a number that is exactly 2^-k."""
    k = exponent(value)
    if k is None or not 0 <= -k <= MAX_RATE_SHIFT:
        raise table.error(
            key, f"is {what_is(value)}", f'give a power of two, "2^-0" to "2^-{MAX_RATE_SHIFT}"'
        )
    return -k


def _rate_text(shift: int) -> str:
    return f"2^-{shift}"
