"""docs/RPEAK.md: what the R-peak detector of a front end reaches, record by record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from synapcc.gen.frontends.r_peak import RPeakBlock
from synapcc.host.run.kept import Result

from ..records import FS
from .choose import DECIBELS
from .hard import EVENTS
from .match import Count
from .measure import FAINT, HARD_RATES, RATES, SETS, cases
from .noise import KINDS
from .words import HEAD, SECTIONS

Found = Mapping[str, Result]
WHOLE = "48 records"
BARS = {WHOLE: (99.9, 99.6), "DS2": (99.9, 99.4)}
"""Se and PPV in percent that were aimed at."""
WINDOW_END = 428
"""ms behind the R peak at which a beat's window ends (examples/ecg/front.py)."""


def count(of: Result) -> Count:
    """One record's, from what is kept."""
    return Count(of["found"], of["missed"], of["false"])


def total(found: Found, what: str, sets: Iterable[str] = SETS) -> Count | None:
    """Of all records of sets; None where one was not measured."""
    names = [f"{of} | {what}" for of in sets]
    if not all(name in found for name in names):
        return None
    return sum((count(record) for name in names for record in found[name].values()), Count())


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _both(of: Count | None) -> list[str]:
    return [_percent(of.sensitivity), _percent(of.predictivity)] if of else ["", ""]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * words + " ---: |" * (len(head) - words)
    yield from ("| " + " | ".join(row) + " |" for row in rows)
    yield ""


def _gross(found: Found) -> Iterator[str]:
    rows = []
    for name, sets in ((WHOLE, tuple(SETS)), *((of, (of,)) for of in SETS)):
        plain, inverted = total(found, "plain", sets), total(found, "inverted", sets)
        if plain:
            hardly = sum(record["faint"] for of in sets for record in found[f"{of} | plain"].values())
            numbers = [plain.found + plain.missed, plain.missed, hardly, plain.false]
            aim = " / ".join(f"{bar:.2f}" for bar in BARS[name]) if name in BARS else ""
            rows.append([name, *map(str, numbers), *_both(plain), aim, *_both(inverted)])
    head = ["", "beats", "missed", "of these faint", "false", "Se, %", "PPV, %", "aim", "inverted: Se", "PPV"]
    yield from _table(head, rows)
    yield from _short_of(found)


def _short_of(found: Found) -> Iterator[str]:
    """A line for each aim that is missed, and where most of it is."""
    for name, sets in ((WHOLE, tuple(SETS)), ("DS2", ("DS2",))):
        if not (plain := total(found, "plain", sets)):
            continue
        records = {r: it for of in sets for r, it in found[f"{of} | plain"].items()}
        figures = ("Se", plain.sensitivity, "missed"), ("PPV", plain.predictivity, "false")
        for (word, is_, kind), bar in zip(figures, BARS[name], strict=True):
            if 100 * is_ >= bar:
                continue
            most = sorted(records, key=lambda r: -records[r][kind])[:4]
            where = ", ".join(f"{records[r][kind]} in {r}" for r in most)
            line = (
                f"{name}: {word} is {100 * is_:.3f}, and {bar:.2f} was aimed at. Of what is {kind}, {where}."
            )
            if kind == "missed":
                hardly = sum(it["faint"] for it in records.values())
                others = Count(plain.found, plain.missed - hardly, plain.false)
                line += (
                    f" {hardly} of {plain.missed} are *faint*: within 50 ms of the annotated peak the lead is"
                    f" less than {FAINT:g} of the record's median QRS high, as where it was off and the other"
                    f" lead was annotated. Without them Se is {100 * others.sensitivity:.3f}."
                )
            yield line + "\n"


def _records(found: Found) -> Iterator[str]:
    rows = []
    for of in SETS:
        for name, record in found.get(f"{of} | plain", {}).items():
            it = count(record)
            other = found.get(f"{of} | inverted", {}).get(name)
            numbers = [str(n) for n in (it.found + it.missed, it.missed, record["faint"], it.false)]
            differs = f"{other['missed']} / {other['false']}" if other else ""
            rows.append([name, of, *numbers, *_both(it), differs])
    rows.sort()
    return _table(
        ["record", "of", "beats", "missed", "faint", "false", "Se, %", "PPV, %", "inverted"], rows, 2
    )


def _quantiles(found: Found, what: str) -> list[float]:
    """Median, 95 %, 99 % and the largest of all records, in ms."""
    pairs = [p for of in SETS for r in found.get(f"{of} | plain", {}).values() for p in r[what]]
    values, times = np.array(sorted(pairs)).T
    each = np.repeat(values, times) * 1000 / FS
    return [float(v) for v in np.quantile(each, [0.5, 0.95, 0.99, 1], method="higher")]


def _later(found: Found) -> float:
    """The share of beats that the end of a beat's window waits for."""
    values, times = np.array([p for of in SETS for r in found[f"{of} | plain"].values() for p in r["ages"]]).T
    return float(times[values * 1000 > WINDOW_END * FS].sum() / times.sum())


def _latency(found: Found) -> Iterator[str]:
    if not all(f"{of} | plain" in found for of in SETS):
        return
    pairs = [p for of in SETS for r in found[f"{of} | plain"].values() for p in r["apart"]]
    values, times = np.array(sorted(pairs)).T
    near = times[np.abs(values) <= 0.02 * FS].sum() / times.sum()
    yield from _table(
        ["", "median", "95 %", "99 %", "most"],
        [["R peak to decision, ms", *(f"{v:.0f}" for v in _quantiles(found, "ages"))]],
    )
    late = _later(found)
    yield f"{100 * late:.2f} % are told later than {WINDOW_END} ms behind it, where a beat's window ends.\n"
    yield f"{100 * near:.1f} % of the R peaks that match lie within 20 ms of the annotated ones.\n"


def _noise(found: Found) -> Iterator[str]:
    if not all(f"{of} | noise" in found for of in SETS):
        return
    rows = []
    for kind in KINDS:
        for decibel in DECIBELS:
            every = {of: count(found[f"{of} | noise"][f"{kind} {decibel}"]) for of in SETS}
            whole = sum(every.values(), Count())
            cells = [f"{c:.2f}" for it in (whole, every["DS2"]) for c in _figures(it)]
            rows.append([kind, str(decibel), *cells])
    head = ["noise", "dB", "Se, %", "PPV, %", "F1, %", "DS2: Se", "PPV", "F1"]
    yield from _table(head, rows)


def _figures(it: Count) -> tuple[float, float, float]:
    return 100 * it.sensitivity, 100 * it.predictivity, 100 * it.f1


def _flag(found: Found) -> Iterator[str]:
    rows = []
    for of in SETS:
        if flag := found.get(f"{of} | noise", {}).get("flag"):
            shares = [_percent(flag["bad"]), _percent(flag["good"])]
            rows.append([of, str(flag["windows"]), str(flag["bad_windows"]), f"{flag['auc']:.3f}", *shares])
    yield from _table(["", "windows", "F1 < .9", "AUC", "of these doubtful, %", "of the others not, %"], rows)
    yield from _withheld(found)
    yield from _lead_off(found)


def _withheld(found: Found) -> Iterator[str]:
    """What `unless` would cost and save."""
    if records := found.get("DS1 | doubt"):
        kinds = [(kind, which) for kind in ("right", "false") for which in ("asked", "trusted")]
        right, kept, false, less = (sum(r[which][kind] for r in records.values()) for kind, which in kinds)
        yield (
            f'With `unless = "r"`, which asks of no window that the flag touches, {right - kept:,} of'
            f" {right:,} right beats of DS1 would be withheld ({100 * (right - kept) / right:.2f} %), and"
            f" {false - less} of {false} false ones.\n"
        )


def _lead_off(found: Found) -> Iterator[str]:
    """What `lead_off` takes away, of all records."""
    if all(f"{of} | lead off" in found for of in SETS):
        records = {r: it for of in SETS for r, it in found[f"{of} | lead off"].items()}
        off = {r: it for r, it in records.items() if it["begins"]}
        seconds, hours = (sum(it[k] for it in records.values()) for k in ("seconds", "of"))
        where = ", ".join(f"{it['begins']} times in {r}" for r, it in off.items()) or "nowhere"
        yield (
            f"`lead_off`, with the rails of this converter, is 1 for {seconds:.1f} seconds of"
            f" {hours / 3600:.1f} hours: {where}.\n"
        )


def _rates(found: Found) -> Iterator[str]:
    rows = []
    for what in ("plain", *(f"{rate} Hz" for rate in RATES)):
        whole, two = total(found, what), total(found, what, ("DS2",))
        if whole:
            rows.append([f"{FS} Hz" if what == "plain" else what, *_both(whole), *_both(two)])
    rows.sort(key=lambda row: int(row[0].split()[0]))
    return _table(["rate", "Se, %", "PPV, %", "DS2: Se", "PPV"], rows)


def _hard(found: Found) -> Iterator[str]:
    if not (known := found.get("synthetic | bad input")):
        return
    rows = []
    for name, event in EVENTS.items():
        each = [known[f"{name} {rate}"] for rate in HARD_RATES]
        rows.append([event.says, *(f"{np.median(v):.1f} / {max(v):.1f}" for v in each)])
    yield from _table(["six seconds of", *(f"{rate} Hz" for rate in HARD_RATES)], rows)


def _memory(found: Found) -> Iterator[str]:
    rows = []
    for rate, of in found.get("synthetic | memory", {}).items():
        rows.append([f"{rate} Hz", f"{of['bytes']:,}", f"{of['top'] / 2**31:.3f}"])
    rows.sort(key=lambda row: int(row[0].split()[0]))
    return _table(["rate", "RAM, bytes", "largest limit / 2^31"], rows)


def _settings() -> Iterator[str]:
    options = [o for o in RPeakBlock.options if o.name != "gain"]  # which has no default
    rows = [[f"`{o.name}`", o.doc, f"{o.default:g} {getattr(o, 'unit', '')}".strip()] for o in options]
    return _table(["option", "", "default"], rows, 2)


def text(found: Found) -> str:
    """The whole page."""
    parts = {
        "MIT-BIH": _gross, "Latency": _latency, "Every record": _records, "Noise": _noise,
        "Signal quality": _flag, "Other rates": _rates, "Bad input": _hard, "Memory": _memory,
    }  # fmt: skip
    lines = [HEAD]
    for title, part in parts.items():
        lines += [f"## {title}\n", SECTIONS[title], *part(found)]
    lines += ["## Settings\n", SECTIONS["Settings"], *_settings()]
    if missing := [case.name for case in cases() if case.name not in found]:
        lines += ["## Not measured yet\n", *(f"* {name.replace(' | ', ', ')}" for name in missing), ""]
    return "\n".join(lines).rstrip() + "\n"
