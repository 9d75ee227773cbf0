"""Front ends and bases compared on the folds of a protocol's own patients, in float (extras `train`, `fast`).

    python -m synapcc.examples.ecg.bases                    measures what is missing, prints the page
    python -m synapcc.examples.ecg.bases --measured FILE.md      the page of what is known, written there

Each fold's patients play the wearer with a base that never saw them: five minutes are learned in ten passes
(float_loops.py), the rest is tested. Results are kept as they come, in bases.json, each under the digest of
what it follows from. No patient of the test is ever read: `synapcc eval ecg --model FILE --front NAME` is the
test, of a base that was chosen before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..processes import one_blas_thread

one_blas_thread()

from synapcc.gen.errors import SynapccError  # noqa: E402
from synapcc.host.run.kept import Result, Results, key  # noqa: E402
from synapcc.host.terminal.arguments import Parser  # noqa: E402
from synapcc.host.terminal.files import check_target, write_whole  # noqa: E402
from synapcc.host.terminal.progress import Progress  # noqa: E402
from synapcc.host.terminal.screen import guarded  # noqa: E402

from . import protocol  # noqa: E402
from .choices import USUAL  # noqa: E402
from .front import FRONTS  # noqa: E402
from .protocol import PROTOCOLS  # noqa: E402

RESULTS = Path(__file__).parent / "bases.json"
PASSES = 10
SETTINGS = (("bp", 9), ("hebbian", 7))
"""Rules and rates 2^-k by which bases are compared."""
SCREENED = {"A": (1, 2, 4), "B": (0, 2, 3)}
"""Folds of the first comparison."""
SEEDS = (0, 1, 2)
"""Training seeds of the second one, on all folds."""


@dataclass(frozen=True)
class Base:
    """One way to make a base; says: what is different, in words; meta: its start is moved by `meta`."""

    says: str
    model: str
    front: str = USUAL
    meta: bool = False


BASES = {
    "mlp_rr": Base("the shipped one: 180 Hz, +-0.42 s, four RR features", "mlp_rr"),
    "short": Base("360 Hz, -0.14 .. +0.28 s", "mlp_rr", "short"),
    "short z": Base("the same, inputs standardised element by element", "mlp_z", "short"),
    "z": Base("180 Hz, +-0.42 s, standardised", "mlp_z"),
    "form z": Base("the same with all features of front.py", "mlp_z", "form"),
    "difference z": Base("`z`, and the window less the wearer's usual beat", "mlp_z", "difference"),
    "meta z": Base(
        "`form z`, moved to where five minutes lead furthest (meta.py)", "mlp_z", "form", meta=True
    ),
}
"""What was compared, by the name in the tables."""

COMPARED = {
    "A": ("form z", "mlp_rr", "short", "short z", "z", "difference z", "meta z"),
    "B": ("form z", "mlp_rr", "z", "meta z"),
}
FINAL: dict[str, tuple[str, ...]] = {
    "A": ("difference z", "z", "short", "short z"),
    "B": ("mlp_rr", "form z"),
}
"""Those of these that were ahead of SHIPPED or beside it: all folds and seeds decide between them."""
SHIPPED = "mlp_rr"


@dataclass(frozen=True)
class Case:
    """A base trained once a fold, and what its wearers learn."""

    protocol: str
    base: str
    seed: int
    folds: tuple[int, ...]

    @property
    def name(self) -> str:
        """What the file of results calls it."""
        folds = " ".join(str(fold + 1) for fold in self.folds)
        return f"{self.protocol} | {self.base} | seed {self.seed} | folds {folds}"


def screened() -> Iterator[Case]:
    """Every base, some folds, one seed."""
    for name, bases in COMPARED.items():
        for base in bases:
            yield Case(name, base, 0, SCREENED[name])


def finals() -> Iterator[Case]:
    """Those that were ahead, all folds, all seeds."""
    for name, bases in FINAL.items():
        for seed in SEEDS:
            for base in dict.fromkeys((*bases, SHIPPED)):
                yield Case(name, base, seed, tuple(range(protocol.FOLDS)))


def measured(case: Case, results: Results, only_known: bool) -> Result | None:
    """A case, from what is kept or anew; None where it is not known and `only_known`."""
    base = BASES[case.base]
    follows = [asdict(case), base.model, asdict(FRONTS[base.front]), base.meta, SETTINGS, PASSES]
    name = key("bases", *follows)
    if only_known and name not in results.found:
        return None
    return results.get(name, partial(_measure, case))


def _measure(case: Case) -> Result:
    import torch

    from . import meta, train
    from .float_loops import answers, learned

    torch.set_num_threads(1)  # sums in one order
    base, front = BASES[case.base], FRONTS[BASES[case.base].front]
    chosen = replace(PROTOCOLS[case.protocol], front=front)
    recipe = train.RECIPES[case.protocol]["mlp_rr"]
    found: dict[str, dict[str, Any]] = {f"{r} 2^-{k}": {} for r, k in SETTINGS}
    for fold in case.folds:
        names, classes = chosen.folds[fold], len(chosen.labels)
        model = train.train(base.model, chosen.pool(names), classes, case.seed, recipe, front)
        if base.meta:
            meta.tune(model, chosen.pool(names), case.seed)
        layers = train.weights(model)
        for name, patient in chosen.load(names).items():
            learn, test = (train.seen(model, part) for part in protocol.split(patient))
            told, truth = (part.label for part in protocol.split(patient))
            for rule, k in SETTINGS:
                after = learned(layers, learn, told, rule, 2.0**-k, case.seed, PASSES)
                said = chosen.confusion(truth, answers(after, test))
                found[f"{rule} 2^-{k}"][name] = said.tolist()
    return {"of": case.name, "patients": found}


def is_result(found: Any) -> bool:
    """Whether it is what is kept of a case."""
    return isinstance(found, dict) and found.keys() == {"of", "patients"}


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    from . import bases_page

    parser = Parser(prog="bases", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.md", help="also write the page there")
    parser.add_argument("--measured", action="store_true", help="train nothing: print what was found before")
    options = parser.parse_args(arguments)
    if options.file:
        check_target(options.file)
    results = Results(RESULTS, is_result)
    todo = [*screened(), *finals()]
    found: dict[Case, Result] = {}
    with Progress("bases", len(todo)) as bar:
        for case in todo:
            result = measured(case, results, options.measured)
            found |= {case: result} if result else {}
            bar.step()
    if not found:
        raise SynapccError(str(RESULTS), "holds nothing of these bases", "leave --measured out")
    text = bases_page.text(found)
    if options.file:
        write_whole(options.file, text.encode())
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
