"""What a user reads when something is wrong: where, what, and what to do."""

import re
from typing import Any


def shown(text: str, longest: int = 80) -> str:
    """`text` from a user's file, fit to stand in a one-line message and in a C comment."""
    text = "".join(c if c.isprintable() and c != "\\" else "_" for c in text)
    text = re.sub(r"(?<=\*)/|(?<=/)\*|(?<=\?)\?", "_", text)  # comment ends and begins, trigraphs
    return text if len(text) <= longest else text[: longest - 3] + "..."


class SynapccError(Exception):
    """Base of every error that is the user's to mend: one line, no traceback, exit code 2.

    excerpt: what stands below that line: a text of the user's, and a caret under the place
    """

    def __init__(self, where: str, what: str, hint: str = "", excerpt: str = "") -> None:
        self.where, self.what, self.hint, self.excerpt = where, what, hint, excerpt
        self.line = f"{where}: {what}; {hint}" if hint else f"{where}: {what}"
        super().__init__(f"{self.line}\n{excerpt}" if excerpt else self.line)

    def __reduce__(self) -> tuple[Any, ...]:
        """As another process sends it: what it was made of is more than the text that an exception keeps."""
        return _received, (type(self), self.args, dict(vars(self)))


def _received(kind: type[SynapccError], args: tuple[Any, ...], parts: dict[str, Any]) -> SynapccError:
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(parts)
    return error


class CompileError(SynapccError):
    """The model, the rule file, the calibration data or the board does not allow a compilation."""


class TermError(CompileError):
    """As CompileError, of a term of an equation of the rule file: `at` in text number `said` of
    RuleSpec.equations. Who knows these shows the place."""

    def __init__(self, where: str, what: str, hint: str, said: int, at: int) -> None:
        super().__init__(where, what, hint)
        self.said, self.at = said, at


class DataWarning(UserWarning):
    """Data that can be taken, and that are probably not what was meant."""
