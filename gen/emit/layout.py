"""Lays out the C of a step: what a template prints is read as statements and printed in one style.

Templates need not care how deep they stand: whatever they print comes out with four columns a brace, braces
around every body and lines of at most WIDTH columns. The reader knows the C that templates are written in:
declarations, expressions, if, else, for, while and comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

WIDTH = 120
_SPACE = re.compile(r"\s*")
_HEAD = re.compile(r"(for|while|if|switch)\s*(?=\()")
_MARKS = {
    end: re.compile(rf"[()\[\]{{}}\"{end}]") for end in (";", ")")
}  # what the end of a statement, a head depends on
_ELSE = re.compile(r"\s*else\b")
_NOTED = re.compile(r"(?P<code>[^\"]*?) ?/\* (?P<note>.*) \*/")
LAST = 1000  # what breaking where nothing divides a line costs: more than any depth
_BREAKS = (" ? ", " : ", " && ", " || ", " + ", " - ", " * ", " >> ")


@dataclass(frozen=True)
class Line:
    """One statement up to its semicolon, and the comment behind it."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Comment:
    """A comment on lines of its own, without its signs."""

    text: str


@dataclass(frozen=True)
class Blank:
    """An empty line."""


@dataclass(frozen=True)
class Block:
    """Statements under a head such as `for (...)`; a block of its own if the head is empty."""

    head: str
    body: Body = ()
    orelse: Body = ()

    @property
    def loops(self) -> bool:
        return self.head.startswith(("for", "while"))


Item = Line | Comment | Blank | Block
Body = tuple[Item, ...]


def parse(text: str) -> Body:
    """The statements of a function's body. ValueError where a bracket is missing."""
    reader = _Reader(text)
    body = reader.body()
    if reader.at < len(text):
        raise ValueError(f"a brace too many: ...{text[reader.at - 40 : reader.at + 1]!r}")
    return body


@dataclass
class _Reader:
    text: str
    at: int = 0
    items: list[Item] = field(default_factory=list)

    def body(self) -> Body:
        """Statements up to a closing brace or the end."""
        out: list[Item] = []
        while True:
            lines = self._space()
            if self.at >= len(self.text) or self.text[self.at] == "}":
                break
            if lines > 1:
                out.append(Blank())
            if self.text.startswith("/*", self.at):
                note = self._comment()
                last = out[-1] if out else None
                if lines == 0 and isinstance(last, Line):
                    out[-1] = replace(last, note=note)
                else:
                    out.append(Comment(note))
            else:
                out.append(self._statement())
        return trimmed(tuple(out))

    def _space(self) -> int:
        """Skips white space; how many lines ended in it."""
        found = _SPACE.match(self.text, self.at)
        assert found
        self.at = found.end()
        return found[0].count("\n")

    def _comment(self) -> str:
        end = self.text.index("*/", self.at)
        text = self.text[self.at + 2 : end]
        self.at = end + 2
        return " ".join(re.sub(r"\n\s*\*", "\n", text).split())

    def _statement(self) -> Item:
        if self.text[self.at] == "{":
            return Block("", self._braced())
        if not (head := _HEAD.match(self.text, self.at)):
            return Line(self._until(";"))
        self.at = head.end()
        title = f"{head[1]} {self._until(')')}"
        body = self._one()
        if head[1] != "if" or not (other := _ELSE.match(self.text, self.at)):
            return Block(title, body)
        self.at = other.end()
        return Block(title, body, self._one())

    def _one(self) -> Body:
        """What a head governs: a block's statements, or one statement."""
        self._space()
        if self.at < len(self.text) and self.text[self.at] == "{":
            return self._braced()
        out: list[Item] = []
        while self.text.startswith("/*", self.at):
            out.append(Comment(self._comment()))
            self._space()
        out.append(self._statement())
        mark = self.at
        if self._space() == 0 and self.text.startswith("/*", self.at) and isinstance(out[-1], Line):
            out[-1] = replace(out[-1], note=self._comment())
        else:
            self.at = mark
        return tuple(out)

    def _braced(self) -> Body:
        self.at += 1
        body = self.body()
        if self.at >= len(self.text):
            raise ValueError("a brace is not closed")
        self.at += 1
        return body

    def _until(self, end: str) -> str:
        """The text up to `end` outside of brackets, with single blanks."""
        start, depth, quoted = self.at, 0, False
        for found in _MARKS[end].finditer(self.text, start):
            c = found[0]
            quoted ^= c == '"'
            if quoted:
                continue
            depth += (c in "([{") - (c in ")]}")
            if c == end and depth == 0:
                self.at = found.end()
                return " ".join(self.text[start : self.at].split())
        raise ValueError(f"no {end!r} behind {self.text[start : start + 60]!r}")


def trimmed(body: Body) -> Body:
    """Without empty lines at the ends, and with one where there were more."""
    kept: list[Item] = []
    for item in body:
        if not isinstance(item, Blank) or (kept and not isinstance(kept[-1], Blank)):
            kept.append(item)
    if kept and isinstance(kept[-1], Blank):
        kept.pop()
    return tuple(kept)


def printed(body: Body, indent: int = 4) -> list[str]:
    """Statements as lines of text, `indent` columns in."""
    out: list[str] = []
    for item in body:
        if isinstance(item, Blank):
            out.append("")
        elif isinstance(item, Comment):
            out += comment(item.text, indent)
        elif isinstance(item, Line):
            out += _line(item, indent)
        else:
            out += _block(item, indent)
    return out


def comment(text: str, indent: int = 0) -> list[str]:
    """A comment, on as many lines as it needs."""
    pad = " " * indent
    if indent + len(text) + 6 <= WIDTH:
        return [f"{pad}/* {text} */"]
    rows, row = [], ""
    for word in text.split():
        if row and indent + len(row) + len(word) + 4 > WIDTH:
            rows.append(row)
            row = word
        else:
            row = f"{row} {word}".strip()
    return [f"{pad}/*", *(f"{pad} * {r}" for r in (*rows, row)), f"{pad} */"]


def _line(line: Line, indent: int) -> list[str]:
    note = f" /* {line.note} */" if line.note else ""
    if indent + len(line.text) + len(note) <= WIDTH:
        return [" " * indent + line.text + note]
    return [*(comment(line.note, indent) if note else []), *wrapped(line.text, indent)]


def _block(block: Block, indent: int) -> list[str]:
    pad = " " * indent
    head = f"{block.head} {{" if block.head else "{"
    out = [*wrapped(head, indent, 8), *printed(block.body, indent + 4)]
    if block.orelse:
        only = block.orelse[0]
        if len(block.orelse) == 1 and isinstance(only, Block) and only.head.startswith("if"):
            first, *rest = _block(only, indent)
            return [*out, f"{pad}}} else {first.strip()}", *rest]
        out += [f"{pad}}} else {{", *printed(block.orelse, indent + 4)]
    return [*out, f"{pad}}}"]


def wrapped(text: str, indent: int, more: int = 4) -> list[str]:
    """A line of code, broken where its brackets are fewest; what follows stands `more` columns further in."""
    out, pad = [], indent
    while pad + len(text) > WIDTH and (cut := _cut(text, WIDTH - pad)):
        out.append(" " * pad + text[:cut].rstrip())
        text, pad = text[cut:].lstrip(), indent + more
    return [*out, " " * pad + text]


def _cut(text: str, room: int) -> int:
    """Where to break: behind a comma, before an operator; where neither comes, behind a bracket, else before
    a word; 0 if nowhere."""
    best, rank, depth, quoted = 0, 3 * LAST, 0, False
    for i, c in enumerate(text[: room + 1]):
        quoted ^= c == '"'
        if quoted:
            continue
        depth += (c in "([{") - (c in ")]}")
        if c not in " ,(":
            continue
        operator = next((k for k, b in enumerate(_BREAKS) if text.startswith(b, i)), None)
        if operator is not None or text[i : i + 2] == ", ":
            if i < room // 4:
                continue
            cost = 10 * depth + (operator or 0) // 2
        else:
            cost = 10 * depth + (LAST if c == "(" else 2 * LAST)
        if cost <= rank and i + 1 <= room:
            best, rank = i + 1, cost
    return best


def narrowed(text: str) -> str:
    """A file whose names made lines of code and comments longer than WIDTH, with these broken.

    Rows of a comment that stands on several lines, and directives of the preprocessor, stay as they are.
    """
    out: list[str] = []
    for line in text.split("\n"):
        long = len(line) > WIDTH and not line.startswith(" * ")
        out += _narrowed(line) if long else [line]
    return "\n".join(out)


def _narrowed(line: str) -> list[str]:
    code, indent = line.strip(), len(line) - len(line.lstrip())
    parts = _NOTED.fullmatch(code)
    note, code = (parts["note"], parts["code"]) if parts else ("", code)
    above = comment(note, indent) if note else []
    if code.startswith("#"):
        return [*above, code]
    return [*above, *(wrapped(code, indent, 8 if code.endswith("{") else 4) if code else [])]
