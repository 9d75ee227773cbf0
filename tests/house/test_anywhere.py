"""What runs on Windows and macOS too: no call of POSIX outside of devices, no line end that a system chooses.

Tests marked `anywhere` are those that such a system can run; they and what they import are held to the same.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
SOURCES = sorted(p for room in ("gen", "host", "examples") for p in (REPO / room).rglob("*.py"))
SUPPORT = {p.stem: p for p in (REPO / "tests" / "support").glob("*.py")}

_MODULES = """crypt fcntl grp nis posix pty pwd readline resource select spwd syslog termios tty"""
_OF_OS = """chown chroot fchmod fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid
getpgrp getppid getsid getuid initgroups kill killpg lchown mkfifo mknod nice openpty pipe2 posix_spawn
sched_getaffinity sched_setaffinity setgid setpgid setsid setuid symlink sync tcgetpgrp tcsetpgrp ttyname
uname wait wait3 wait4 waitid waitpid"""
_OF_SIGNAL = """SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGUSR1
SIGUSR2 alarm pause pthread_kill pthread_sigmask setitimer sigpending sigtimedwait sigwait"""
MODULES, OF_OS, OF_SIGNAL = (frozenset(words.split()) for words in (_MODULES, _OF_OS, _OF_SIGNAL))
OF_OTHERS = frozenset({"symlink_to", "hardlink_to", "mkfifo", "socketpair"})
KEYWORDS = frozenset({"preexec_fn", "pass_fds", "start_new_session", "dir_fd", "process_group"})
PLACES = re.compile(r"/(bin|dev|etc|proc|run|sys|tmp|usr|var)(/|$)")

DEVICES = "host/devices/"
"""The room whose files may: a device says itself where it cannot be."""

MAY = {
    "host/engine/__init__.py": {"os.sched_getaffinity"},
    "host/firmware/tools.py": {"os.killpg", "start_new_session=", "'/bin/sh'"},
    "host/live/history.py": {"'/proc/self/statm'"},
    "host/terminal/files.py": {"import fcntl"},
}
"""Elsewhere: each asks first, in the same function, whether it is there. Of start_new_session Windows knows
nothing and lets it pass."""
ASKS = ("sys.platform", "hasattr(")
PASSES = {"start_new_session="}


HINTS = re.compile(
    rf"\b({'|'.join(sorted(MODULES | OF_OS | OF_SIGNAL | OF_OTHERS | KEYWORDS))})\b|[\"']{PLACES.pattern}"
)
"""What a file must have somewhere to be looked at closely: most need not be parsed."""


@cache
def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(source(path))


@cache
def of_posix(path: Path) -> tuple[tuple[str, int], ...]:
    """`posix` of a file."""
    return tuple(posix(parsed(path))) if HINTS.search(source(path)) else ()


def docstrings(tree: ast.AST) -> set[int]:
    return {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}


def posix(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(what, line) of what Windows has not."""
    said = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [f"import {a.name}" for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            found = [f"import {source}"] if not node.level and source.split(".")[0] in MODULES else []
            of = {"os": OF_OS, "signal": OF_SIGNAL}.get(source, frozenset())
            found += [f"{source}.{a.name}" for a in node.names if a.name in of]
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            of = {"os": OF_OS, "signal": OF_SIGNAL}.get(owner, OF_OTHERS)
            found = [f"{owner}.{node.attr}"] if node.attr in of else []
        elif isinstance(node, ast.keyword):
            found = [f"{node.arg}="] if node.arg in KEYWORDS else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            found = [repr(node.value)] if PLACES.match(node.value) else []
        else:
            continue
        yield from ((what, getattr(node, "lineno", 0)) for what in found)


def asked(tree: ast.AST, text: str, line: int) -> bool:
    """Whether the function around `line` asks for the system."""
    around = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef) and n.lineno <= line <= (n.end_lineno or n.lineno)
    ]
    return any(ask in (ast.get_source_segment(text, n) or "") for n in around for ask in ASKS)


HAS = """import pty | from os import fork | os.kill(1, 9) | from select import select | signal.SIGKILL |
f(preexec_fn=g) | open('/tmp/x') | socket.socketpair() | p.symlink_to(q)"""
HAS_NOT = "signal.signal(signal.SIGTERM, f) | os.replace(a, b) | '/tmp' | x = '/a/b'"


def test_what_is_of_posix_is_seen() -> None:
    for text in HAS.split("|"):
        assert len(list(posix(ast.parse(text.strip())))) == 1, text
    for text in HAS_NOT.split("|"):
        assert not list(posix(ast.parse(text.strip()))), text


def test_nothing_of_posix_outside_of_devices() -> None:
    seen: dict[str, set[str]] = {}
    for path in SOURCES:
        name = path.relative_to(REPO).as_posix()
        if name.startswith(DEVICES):
            continue
        for what, line in of_posix(path):
            seen.setdefault(name, set()).add(what)
            assert what in MAY.get(name, ()), f"{name}:{line}: {what} is not there on Windows"
            assert what in PASSES or asked(parsed(path), source(path), line), (
                f"{name}:{line}: {what} is not asked for"
            )
    assert seen == MAY, "the list names what is there no more"


def writes_text(tree: ast.AST) -> Iterator[tuple[ast.Call, set[str]]]:
    """Calls that write text, and their keywords."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        modes = [m for m in first if re.fullmatch(r"[wax]\+?t?|[wax]t?\+?", m)]
        if name == "write_text" or (name in ("open", "fdopen", "NamedTemporaryFile") and modes):
            yield node, {k.arg or "" for k in node.keywords}


def test_text_is_written_with_the_line_ends_that_digests_are_of() -> None:
    """A system's own line ends would be in C that is compiled, and in what is compared."""
    writing = [path for path in SOURCES if re.search(r"write_text|open\(|TemporaryFile", source(path))]
    found = [(path, *call) for path in writing for call in writes_text(parsed(path))]
    assert len(found) >= 8
    for path, node, keywords in found:
        assert {"newline", "encoding"} <= keywords, f"{path.relative_to(REPO)}:{node.lineno}"


def runs_text(tree: ast.AST) -> Iterator[tuple[ast.Call, set[str]]]:
    """Calls that read as text what a program says, and their keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            keywords = {k.arg or "" for k in node.keywords}
            if node.func.attr in ("run", "Popen", "check_output") and keywords & {
                "text", "universal_newlines", "encoding", "errors"
            }:  # fmt: skip
                yield node, keywords


def test_what_programs_say_is_read_in_any_language() -> None:
    """A compiler names files as its system does, which may be no text of the code page that Python takes."""
    asking = [path for path in SOURCES if "subprocess" in source(path)]
    found = [(path, *call) for path in asking for call in runs_text(parsed(path))]
    assert len(found) >= 6
    for path, node, keywords in found:
        assert {"encoding", "errors"} <= keywords, f"{path.relative_to(REPO)}:{node.lineno}"


def test_no_two_files_are_one_and_none_is_a_device() -> None:
    """Of Windows and macOS, where a name's capitals do not tell it from another."""
    done = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("git is not there, or this is no work tree")
    names = done.stdout.splitlines()
    assert len({name.lower() for name in names}) == len(names) > 500
    for name in names:
        words = {part.split(".")[0].lower() for part in name.split("/")}
        assert not words & {"aux", "con", "nul", "prn"} and not re.search(r'[:*?"<>|\\]|[. ](/|$)', name), (
            name
        )


def test_git_changes_no_line_end() -> None:
    """Templates and firmware are read as they lie in the work tree; golden files are compared."""
    names = ["templates/model.c.j2", "firmware/main.c", "tests/gen/emit/golden/ring.c", "gen/version.py"]
    done = subprocess.run(
        ["git", "check-attr", "eol", "--", *names], cwd=REPO, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("git is not there, or this is no work tree")
    assert done.stdout.splitlines() == [f"{name}: eol: lf" for name in names]


# ---- tests ------------------------------------------------------------------------------------------------


def closure(path: Path, known: set[Path]) -> set[Path]:
    """A file and all of tests/support that it imports."""
    if path not in known:
        known.add(path)
        for one, other in re.findall(r"^(?:from (\w+) import|import (\w+))", source(path), flags=re.M):
            if (name := one or other) in SUPPORT:
                closure(SUPPORT[name], known)
    return known


def test_what_is_marked_runs_anywhere() -> None:
    tests = sorted((REPO / "tests").rglob("test_*.py"))
    marked = [p for p in tests if "mark.anywhere" in source(p) and p != Path(__file__)]
    assert len(marked) >= 5
    for path in marked:
        for file in closure(path, set()):
            found = of_posix(file)
            assert not found, f"{path.name}: {file.name}:{found[0][1]}: {found[0][0]}"
