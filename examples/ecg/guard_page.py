"""docs/GUARD.md: what a guard is worth on ECG; and the table of the folds that its numbers are chosen by."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

from synapcc.gen.spec import Guard

from ..curves import Curve, drawn
from .evaluate import OWN as BASE
from .guarded import CHOOSING, MARGINS, OWN, PASSES, SEEDS, SHARES, SHOWN, TOLD, WRONG, Outcome

PLOT = "guard.svg"
"""The plot beside the page."""
HARM = 0.5
"""Points that no patient should lose, with right labels."""
MODELS = {"mlp": "the perceptron", "cnn": "the convolutional network"}
LOOKS = {"hebbian": ("#1d4ed8", "#93c5fd"), "dfa": ("#c2410c", "#fb923c"), "last": ("#4d7c0f", "#a3e635")}

HEAD = f"""# What a guard is worth

`[guard]` holds every third labelled sample of a class back from learning and undoes what did harm on these
([RULES.md](RULES.md), "A guard"). Here it stands on ECG, protocol A ([ECG.md](ECG.md)): each of 22 patients
learns five minutes in {PASSES} passes, settles for the best state, and is tested on the other 25 minutes. A
point is a hundredth of a patient's tested beats. *Worst* is what the patient who loses most loses, or the
least gain where nobody loses; *below* counts patients that end below where they began, by any amount, and,
behind the stroke, by more than {HARM}. *Own beats* are {BASE:,} beats of the base's patients, asked again of
each patient's weights: what the base forgets. Every rule that has a rule file for the base is there.

    python -m synapcc.examples.ecg.guarded FILE.md

prints this page from `examples/ecg/guarded.json`, and measures what is missing there, in the emulator. The
guard has its default numbers, which were chosen on folds of the base's patients before there was this
command; the last table has the folds again, with other margins beside. No patient of the test took part.
Rates are those of the example's rule files, chosen on the same folds without a guard.
"""
FLIPPED = f"""\
A share of each patient's labels is another class, drawn anew for each of {len(SEEDS)} seeds, of rounding
and feedback too: the labels that are held back are as wrong as those that are learned. Accuracy is the mean
of the seeds with their standard deviation; *worst* and *below* are of the seed and patient that come off
worst. The base is {MODELS["mlp"]}.
"""
MISSING = f"""\
Of each patient's five minutes {TOLD[0]:.0%} of the beats, drawn anew for each of {len(SEEDS)} seeds, have a
label. The others are dropped, or learned under the network's own verdict where it leads by {OWN:g}
(`[pseudo] margin = {OWN:g}`, the best mean of the rules on the folds); they are not rehearsed. Before the
folds chose it, a margin of 4 had been tried on the test, too.
"""


def text(found: Sequence[Outcome], by_folds: Sequence[Outcome] = ()) -> str:
    """The page; what was not measured is not on it."""
    parts = [HEAD]
    for model, called in MODELS.items():
        for share in (0.0, WRONG):
            wanted = (model, share, 1, 1.0)
            of = [f for f in found if (f.case.model, f.case.flipped, f.case.seed, f.case.told) == wanted]
            if of:
                labels = f"{share:.0%} of the labels wrong" if share else "right labels"
                parts += [f"## Every rule, {called}, {labels}\n", *_rules(of), ""]
    if of := [f for f in found if f.case.model == "mlp" and f.case.rule in SHOWN and f.case.told == 1]:
        parts += [
            "## Wrong labels\n",
            FLIPPED,
            *_shares(of),
            "",
            f"![Accuracy by share of wrong labels]({PLOT})",
            "",
        ]
    if of := [f for f in found if f.case.told < 1]:
        parts += ["## Labels that are missing\n", MISSING, *_told(of), ""]
    return "\n".join([*parts, *([chosen(by_folds)] if by_folds else [])])


def chosen(found: Iterable[Outcome]) -> str:
    """The folds' table: each guard by what the worst patient loses, with right labels and with wrong ones."""
    by: dict[Guard | None, list[Outcome]] = {}
    partly = [f for f in found if f.case.told < 1]
    for f in (f for f in found if f.case.told == 1):
        by.setdefault(f.case.guard, []).append(f)
    lines = [
        [
            "gain",
            "margin",
            "worst, right labels",
            f"worst, {WRONG:.0%} wrong",
            "below, right labels",
            "below, wrong",
            "accuracy, %",
            f"{WRONG:.0%} wrong",
        ]
    ]
    for guard, of in by.items():
        right, wrong = ([f for f in of if bool(f.case.flipped) == b] for b in (False, True))
        numbers = [f"{guard.gain:g}", f"{guard.margin:g}"] if guard else ["no guard", ""]
        below = [str(sum(int((f.change < 0).sum()) for f in part)) for part in (right, wrong)]
        cells = [_signed(min(float(f.change.min()) for f in part)) if part else "" for part in (right, wrong)]
        means = [
            f"{statistics.fmean(f.accuracy for f in part):.2f}" if part else "" for part in (right, wrong)
        ]
        lines.append([*numbers, *cells, *below, *means])
    return "\n".join([FOLDS, *_table(lines, left=2), "", *(_margins(partly) if partly else [])])


FOLDS = f"""\
## Folds of the base's patients

What settings are chosen by (`--folds`): five bases, each tested on patients of its own that it never saw.
Rules {", ".join(CHOOSING)}; *worst* of all rules and patients, *below* the sum over rules, accuracies the
means of the rules.
"""


def plot(found: Sequence[Outcome]) -> str:
    """Accuracy over the share of wrong labels, of each rule with the guard and without."""
    curves, told = [], []
    for rule in SHOWN:
        for guarded in (True, False):
            points = {
                100 * share: statistics.fmean(f.accuracy for f in of)
                for share in SHARES
                if (of := _of(found, rule, share, guarded))
            }
            name = f"{rule}{', guard' if guarded else ''}"
            curves.append(Curve(name, points, *LOOKS[rule], "" if guarded else "3 5"))
            told.append(f"{name} " + ", ".join(f"{v:.2f} at {n:g}" for n, v in points.items()))
    words = f"Accuracy in percent by percent of wrong labels: {'; '.join(told)}"
    return drawn(curves, [100 * s for s in SHARES], "labels that are wrong, %", words, 120)


def _of(found: Iterable[Outcome], rule: str, share: float, guarded: bool) -> list[Outcome]:
    wanted = (rule, share, guarded)
    every = (f for f in found if f.case.model == "mlp" and f.case.told == 1)
    return [f for f in every if (f.case.rule, f.case.flipped, f.case.guard is not None) == wanted]


def _rules(found: Sequence[Outcome]) -> list[str]:
    """One line a rule: without a guard, and with it."""
    head = [
        "rule",
        "accuracy, %",
        "with guard",
        "worst",
        "with guard",
        "below",
        "with guard",
        "own beats, %",
        "with guard",
    ]
    first = found[0]
    base = f"{100 * statistics.fmean(first.result['base_before']):.1f}"
    lines = [head, ["before learning", f"{first.before:.2f}", "", "", "", "", "", base, ""]]
    for rule in dict.fromkeys(f.case.rule for f in found):
        pair = [
            next((f for f in found if (f.case.rule, f.case.guard is None) == (rule, g)), None)
            for g in (True, False)
        ]
        cells = [[_or(f, told) for f in pair] for told in (_accuracy, _worst, _below, _own)]
        lines.append([rule, *(c for both in cells for c in both)])
    return _table(lines, left=1)


def _shares(found: Sequence[Outcome]) -> list[str]:
    lines = [
        [
            "rule",
            "guard",
            *(f"{share:.0%} wrong" for share in SHARES),
            *(f"worst, {share:.0%}" for share in SHARES),
        ]
    ]
    for rule in SHOWN:
        for guarded in (False, True):
            each = [_of(found, rule, share, guarded) for share in SHARES]
            lines.append([rule, "yes" if guarded else "no", *map(_mean, each), *map(_lowest, each)])
    return _table(lines, left=2)


def _told(found: Sequence[Outcome]) -> list[str]:
    """One line a rule and guard: what the beats without a label are worth."""
    named = {None: "others dropped", OWN: "others by own verdict"}
    lines = [["rule", "guard", *named.values(), *(f"worst: {n}" for n in named.values())]]
    for rule in SHOWN:
        for guarded in (False, True):
            own = [f for f in found if f.case.rule == rule and (f.case.guard is not None) == guarded]
            each = [[f for f in own if f.case.pseudo == pseudo] for pseudo in named]
            lines.append([rule, "yes" if guarded else "no", *map(_mean, each), *map(_lowest, each)])
    return _table(lines, left=2)


def _margins(found: Sequence[Outcome]) -> list[str]:
    """The folds' table of margins: accuracy of each rule, with the guard."""
    lines = [["margin", *SHOWN]]
    for margin in MARGINS:
        each = [[f for f in found if (f.case.pseudo, f.case.rule) == (margin, rule)] for rule in SHOWN]
        cells = [_accuracy(of[0]) if of else "" for of in each]
        lines.append(["dropped" if margin is None else f"{margin:g}", *cells])
    return [
        f"With the guard, {TOLD[0]:.0%} of the beats labelled, the others by their own verdict:\n",
        *_table(lines, left=1),
        "",
    ]


def _mean(of: Sequence[Outcome]) -> str:
    if not of:
        return ""
    values = [f.accuracy for f in of]
    few = f" ({len(of)} of {len(SEEDS)} seeds)" if len(of) < len(SEEDS) else ""
    return (
        f"{statistics.fmean(values):.2f}"
        + (f" ± {statistics.stdev(values):.2f}" if len(of) > 1 else "")
        + few
    )


def _lowest(of: Sequence[Outcome]) -> str:
    return _signed(min(float(f.change.min()) for f in of)) if of else ""


def _or(f: Outcome | None, told: Callable[[Outcome], str]) -> str:
    return told(f) if f else ""


def _accuracy(f: Outcome) -> str:
    return f"{f.accuracy:.2f}"


def _worst(f: Outcome) -> str:
    return _signed(float(f.change.min()))


def _below(f: Outcome) -> str:
    return f"{int((f.change < 0).sum())} / {int((f.change < -HARM).sum())}"


def _own(f: Outcome) -> str:
    return f"{100 * statistics.fmean(f.result['base']):.1f}"


def _signed(v: float) -> str:
    return f"{v:+.2f}" if round(v, 2) else "0.00"


def _table(lines: Sequence[Sequence[str]], left: int) -> list[str]:
    ruler = ["---" if i < left else "---:" for i in range(len(lines[0]))]
    return [f"| {' | '.join(cells)} |" for cells in (lines[0], ruler, *lines[1:])]
