"""What the layout of emitted C must be, checked line by line, without gen/emit/layout.py, which makes it."""

from __future__ import annotations

import re
from collections.abc import Iterator

WIDTH = 120
_LOOP = re.compile(r"for \(u?int32_t (\w+) = (\d+)u?; \1 < (\d+)u?; (.*)\)")
_CPP = '#ifdef __cplusplus\nextern "C" {\n#endif\n', "#ifdef __cplusplus\n}\n#endif\n"


def faults(text: str) -> list[str]:
    """What is wrong with the layout of a .c or .h file, each with its line."""
    out = [] if text.endswith("\n") and not text.endswith("\n\n") else ["the end is not one newline"]
    for part in _CPP:  # its braces stand around the whole header
        text = text.replace(part, "\n".join(["#"] * part.count("\n")) + "\n")
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        out += [f"line {number}: {what}: {line.strip()[:100]}" for what in _of_line(line, before)]
        before = line
    for number, line, code, depth, goes_on in _code(text):
        found = _of_code(line, code, depth, goes_on)
        out += [f"line {number}: {what}: {line.strip()[:100]}" for what in found]
    return out


def _of_line(line: str, before: str) -> Iterator[str]:
    if line != line.rstrip() or "\t" in line:
        yield "trailing blanks or a tab"
    if not line and not before:
        yield "two empty lines"
    if (not line and before.endswith(" {")) or (line.strip() == "}" and not before):
        yield "an empty line inside of a brace"
    if len(line) > WIDTH and not line.startswith(" * "):  # the command line and the table of memory
        yield f"{len(line)} columns"


def _of_code(line: str, code: str, depth: int, goes_on: bool) -> Iterator[str]:
    indent = len(line) - len(line.lstrip())
    level = depth - (1 if code.startswith("}") or re.match(r"case |default:", code) else 0)
    if goes_on and indent < 4 * level + 4:
        yield "a continued line that is not further in"
    if not goes_on and indent != 4 * level:
        yield f"{indent} columns in, {4 * level} by its braces"
    whole = code.count("(") == code.count(")")
    if re.match(r"(?:} else )?(?:if|for|while)\b|(?:} )?else\b", code) and whole and not code.endswith("{"):
        yield "a body without braces"
    if code.count(";") > (3 if code.startswith("for (") else 1) or (
        re.search(r"; \S.*[;{]$", code) and "for (" not in code
    ):
        yield "two statements in one line"
    if found := _LOOP.match(code):
        move = re.search(rf"\b{found[1]}(?:\+\+| \+= (\d+)u?)", found[4])
        if move and int(found[2]) + int(move[1] or 1) >= int(found[3]):
            yield "a loop that runs once or never"


def _code(text: str) -> Iterator[tuple[int, str, str, int, bool]]:
    """Lines of code: number, line, its code without comments and strings, open braces, whether it goes on."""
    bare = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    bare = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), bare, flags=re.DOTALL)
    depth, goes_on = 0, False
    for number, (line, stripped) in enumerate(zip(text.splitlines(), bare.splitlines(), strict=True), 1):
        code = stripped.strip()
        if not code or code.startswith("#"):
            continue
        yield number, line, code, depth, goes_on and not code.startswith("}")  # the last of an enum or table
        depth += code.count("{") - code.count("}")
        heading = depth == 0 and code.endswith(")")  # of a function: its brace has a line of its own
        listing = (
            goes_on or stripped.count("(") > stripped.count(")") or re.match(r"(const )?u?int\d+_t ", code)
        )
        goes_on = not heading and not code.endswith((";", "{", "}", ":", ","))
        goes_on |= code.endswith(",") and bool(listing)
