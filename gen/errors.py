"""What a user reads when something is wrong: where, what, and what to do."""

import re


def shown(text: str, longest: int = 80) -> str:
    """`text` from a user's file, fit to stand in a one-line message and in a C comment."""
    text = "".join(c if c.isprintable() and c != "\\" else "_" for c in text)
    text = re.sub(r"(?<=\*)/|(?<=/)\*|(?<=\?)\?", "_", text)  # comment ends and begins, trigraphs
    return text if len(text) <= longest else text[: longest - 3] + "..."


class SynapccError(Exception):
    """Base of every error that is the user's to mend: one line, no traceback, exit code 2."""

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where, self.what, self.hint = where, what, hint
        super().__init__(f"{where}: {what}; {hint}" if hint else f"{where}: {what}")


class CompileError(SynapccError):
    """The model, the rule file, the calibration data or the board does not allow a compilation."""


class DataWarning(UserWarning):
    """Data that can be taken, and that are probably not what was meant."""
