"""Takes out of a step's C the loops that run exactly once or never, by what is known of their counters.

A loop whose counter is its own becomes its body with the number in place of the counter. A loop whose counter
lives on (`for (; i < 4u; i += 4u, w += 32)`) becomes its body, and what it moves on where that is read later.
Compilers do as much; this is for the reader.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from .layout import Blank, Block, Body, Comment, Item, Line, printed, trimmed

_OWN = re.compile(r"for \(u?int32_t (\w+) = (\d+)u?; \1 < (\d+)u?; (.*)\)")
_KEPT = re.compile(r"for \(; (\w+) < (\d+)u?; (.*)\)")
_STEP = re.compile(r"(\w+)(?:\+\+| \+= (\d+)u?)")
_START = re.compile(r"(?<=[ ,])(\w+) = (\d+)u?(?=[,;])")
_CHANGED = re.compile(r"\b(\w+)(?:\+\+|--| (?:[-+*&|^]|<<|>>)?= )|(?:\+\+|--)(\w+)")
_SETTLED = re.compile(r"const uint32_t (\w+) = (\d+u);")
_DECLARES = re.compile(r"^ *(u?)int32_t (?!\*)(.*;)", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_WORD = re.compile(r"\w+")
_DECLARED = re.compile(r"(?:const )?u?int\d+_t \*?(\w+)")
_MORE = re.compile(r", \*?(\w+)(?= = |,|;|\[)")
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_COMPARED = re.compile(r"(.*) (==|!=|<|>=|>|<=) (.*)")


def without_single_loops(body: Body) -> Body:
    """The statements of a function without loops that run exactly once."""
    return _without_idle(_without_still(_walk(body, {}, lambda name: False)))


@dataclass(frozen=True)
class _Loop:
    """A loop with constant bounds. `moves`: what it does behind each round, its counter first."""

    counter: str
    own: bool
    start: int
    step: int
    end: int
    moves: tuple[str, ...]

    @property
    def rounds(self) -> int:
        return max(0, -(-(self.end - self.start) // self.step))


def _loop(block: Block, known: Mapping[str, int]) -> _Loop | None:
    """The loop of a block, if its bounds are known; `known`: the values of counters before it."""
    if found := _OWN.fullmatch(block.head):
        counter, own, start, end, moves = found[1], True, int(found[2]), int(found[3]), found[4]
    elif (found := _KEPT.fullmatch(block.head)) and found[1] in known:
        counter, own, start, end, moves = found[1], False, known[found[1]], int(found[2]), found[3]
    else:
        return None
    parts = tuple(moves.split(", "))
    step = next((s for part in parts if (s := _STEP.fullmatch(part)) and s[1] == counter), None)
    if step is None or counter in _changed(block.body):
        return None
    return _Loop(counter, own, start, int(step[2] or 1), end, parts)


def _walk(body: Body, known: dict[str, int], later: Callable[[str], bool]) -> Body:
    """`body` without such loops. `later`: whether a variable may be read behind it; `known` is moved on."""
    out: list[Item] = []
    declared: set[str] = set()
    for i, item in enumerate(body):
        if isinstance(item, Line):
            declared |= _names(item)
            for name in _changed((item,)):
                known.pop(name, None)
            known |= {name: int(n) for name, n in _START.findall(item.text)}
        if not isinstance(item, Block):
            out.append(item)
            continue
        rest = body[i + 1 :]

        read = _reader(rest, frozenset(declared), later)
        loop = _loop(item, known) if item.loops else None
        if loop and loop.rounds == 0:
            continue
        lone = _once(item, loop) if loop and loop.rounds == 1 else None
        if loop and lone is not None:
            moves = tuple(Line(f"{m};") for m in loop.moves if _moved(m, loop, read))
            inner = _walk((*lone, *moves), known, read)
            others = (*out, *rest)
            out += [Block("", inner)] if _clash(inner, others) else inner
        else:
            out.append(_inside(item, known, read))
        if loop and not loop.own:
            known[loop.counter] = loop.start + loop.rounds * loop.step
    return trimmed(tuple(out))


def _reader(rest: Body, declared: frozenset[str], later: Callable[[str], bool]) -> Callable[[str], bool]:
    """Whether a variable may be read in `rest`, or behind it where it was not declared in this block."""
    return lambda name: _mentions(rest, name) or (name not in declared and later(name))


def _without_idle(body: Body) -> Body:
    """Without counters that nothing reads any more."""
    code = _COMMENT.sub("", _text(body))
    idle = [n for n, _ in _START.findall(code) if len(re.findall(rf"\b{n}\b", code)) == 1]

    def less(part: Body) -> Body:
        out: list[Item] = []
        for item in part:
            if isinstance(item, Block):
                item = replace(item, body=less(item.body), orelse=less(item.orelse))
            elif isinstance(item, Line) and _names(item) & set(idle):
                text = item.text
                for name in idle:
                    text = re.sub(rf"(?<= ){name} = \d+u?, |(?:,| u?int32_t) {name} = \d+u?(?=;)", "", text)
                    text = re.sub(rf"^u?int32_t {name} = \d+u?;", "", text)
                if not text:
                    continue
                item = replace(item, text=text)
            out.append(item)
        return trimmed(tuple(out))

    return less(body) if idle else body


def _inside(block: Block, known: dict[str, int], later: Callable[[str], bool]) -> Block:
    """A block that stays, its parts done. Behind it what it changes is no longer known."""
    around = (lambda name: True) if block.loops else later
    for name in _changed((block,)):
        known.pop(name, None)
    return replace(
        block, body=_walk(block.body, dict(known), around), orelse=_walk(block.orelse, dict(known), around)
    )


def _moved(move: str, loop: _Loop, read: Callable[[str], bool]) -> bool:
    step = _STEP.fullmatch(move)
    name = step[1] if step else ""
    return not (loop.own and name == loop.counter) and (not name or read(name))


def _once(block: Block, loop: _Loop) -> Body | None:
    """The body of a loop that runs once; None if it leaves the loop in a way that a body cannot."""
    body = _continued(block.body)
    if body is None or not loop.own:
        return body
    name = loop.counter
    if not _mentions(body, name):
        return body
    unsigned = "u" if "uint32_t" in block.head else ""
    if _compared(body, name):
        return (Line(f"const {unsigned and 'u'}int32_t {name} = {loop.start}{unsigned};"), *body)
    return _put(body, name, f"{loop.start}{unsigned}")


def _compared(body: Body, name: str) -> bool:
    """Whether `body` compares or masks `name`, where a number would read badly, or needs it in a register."""
    text = "\n".join(printed(body))
    sides = rf"\b{name} (?:[=!<>]=|[<>&?])|(?:[=!<>]=|[<>&]) {name}\b"
    return re.search(rf'{sides}|&{name}\b|"\({name}\)', text) is not None


def _put(body: Body, name: str, number: str) -> Body:
    """`body` with a number in place of a counter, and of what is a number by that."""
    out: list[Item] = []
    rest = body
    while rest:
        item, rest = rest[0], rest[1:]
        new = _with(item, name, number)
        settled = _SETTLED.fullmatch(new.text) if isinstance(new, Line) and not new.note else None
        if settled and new != item and not _compared(rest, settled[1]):
            rest = _put(rest, settled[1], settled[2])
        else:
            out.append(new)
    return trimmed(tuple(out))


def _without_still(body: Body) -> Body:
    """With their numbers in place of counters that nothing moves any more."""
    text = _text(body)
    moves = Counter(a or b for a, b in _CHANGED.findall(text))
    for unsigned, names in _DECLARES.findall(text):
        for name, number in _START.findall(f" {names}"):
            if moves[name] == 1 and not _compared(body, name):
                body = _put(body, name, number + unsigned)
    return body


def _continued(body: Body) -> Body | None:
    """`if (c) continue;` as an if around the rest; None where `continue` or `break` stands deeper."""
    for i, item in enumerate(body):
        if not isinstance(item, Block):
            continue
        only = [x for x in item.body if not isinstance(x, Comment)]
        if not item.orelse and [getattr(x, "text", "") for x in only] == ["continue;"]:
            rest = _continued(trimmed(body[i + 1 :]))
            if rest is None:
                return None
            notes = tuple(Comment(x.note) for x in only if isinstance(x, Line) and x.note)
            head = f"if ({_not(item.head.removeprefix('if (')[:-1])})"
            return (*body[:i], *notes, Block(head, rest))
        if _leaves(item):
            return None
    return body


def _leaves(item: Item) -> bool:
    """Whether a `continue` or `break` of the loop around stands in `item`."""
    if isinstance(item, Block):
        return not item.loops and any(_leaves(x) for x in (*item.body, *item.orelse))
    return isinstance(item, Line) and item.text in ("continue;", "break;")


def _not(condition: str) -> str:
    """The opposite of a condition."""
    parts = condition.split(" || ")
    found = [_COMPARED.fullmatch(p) for p in parts]
    if "(" not in condition and "&&" not in condition and all(found):
        return " && ".join(f"{f[1]} {_OPPOSITE[f[2]]} {f[3]}" for f in found if f)
    return f"!({condition})"


def _with(item: Item, name: str, number: str) -> Item:
    """`item` with a number in place of a counter, simple sums and products worked out."""

    def put(text: str) -> str:
        new = re.sub(rf"\b{name}\b", number, text)
        return text if new == text else folded(new)

    if isinstance(item, Line):
        return item if name in _names(item) else replace(item, text=put(item.text))
    if isinstance(item, Block):
        inner = [_put(part, name, number) for part in (item.body, item.orelse)]
        return Block(put(item.head), inner[0], inner[1])
    return item


_FOLDS: Sequence[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = tuple(
    (re.compile(pattern), to)
    for pattern, to in (
        (r"(?<![\w)\]])\((\d+u?)\)", r"\1"),
        (r"(\(u?int\d+_t\))\((\d+u?)\)", r"\1\2"),
        (r"\[(\d+)u\]", r"[\1]"),
        (r"(?<![\w)\]])\((\w+)(?<!_t)\)(?= [*+])", r"\1"),
        (r"\(int32_t\)(\d+)u\b", r"\1"),
        (r"(?<![*/%] )\b(\d+)(u?) \* (\d+)u?\b", lambda m: f"{int(m[1]) * int(m[3])}{m[2]}"),
        (
            r"(?<![*/%-] )(?<![<>] )\b(\d+)(u?) \+ (\d+)u?\b(?! [*/%])",
            lambda m: f"{int(m[1]) + int(m[3])}{m[2]}",
        ),
        (r" \+ 0u?\b(?! [*/%])", ""),
        (r"(?<=[\[(=,] )0u? \+ |(?<=[\[(])0u? \+ ", ""),
        (r"= 0 - (\d+)", r"= -\1"),
    )
)


def folded(text: str) -> str:
    """Products and sums of numbers worked out, zeros left out of sums."""
    while True:
        new = text
        for pattern, to in _FOLDS:
            new = pattern.sub(to, new)
        if new == text:
            return text
        text = new


@lru_cache(1 << 12)  # what stands behind a block is asked for one variable after another
def _text(body: Body) -> str:
    return "\n".join(printed(tuple(x for x in body if not isinstance(x, Comment | Blank))))


def _changed(body: Body) -> frozenset[str]:
    """The variables that statements change."""
    return frozenset().union(*map(_changes, body))


@lru_cache(1 << 12)
def _changes(item: Item) -> frozenset[str]:
    if isinstance(item, Block):
        own = Line(item.head) if item.head else Blank()
        return _changed((own, *item.body, *item.orelse))
    return (
        frozenset(a or b for a, b in _CHANGED.findall(item.text)) if isinstance(item, Line) else frozenset()
    )


def _mentions(body: Body, name: str) -> bool:
    return name in _words(body)


@lru_cache(1 << 12)
def _words(body: Body) -> frozenset[str]:
    """What stands in statements, comments left out: names, numbers and types."""
    return frozenset(_WORD.findall(_COMMENT.sub("", _text(body))))


def _names(line: Line) -> frozenset[str]:
    """What a declaration declares."""
    found = _DECLARED.match(line.text)
    return frozenset((found[1], *_MORE.findall(line.text))) if found else frozenset()


def _clash(inner: Body, others: Body) -> bool:
    """Whether a name that `inner` declares stands in `others` too: then it needs braces of its own."""
    names = {name for item in inner if isinstance(item, Line) for name in _names(item)}
    return any(_mentions(others, name) for name in names)
