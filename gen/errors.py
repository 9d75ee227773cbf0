"""What a user reads when something is wrong: where, what, and what to do."""


class SynapccError(Exception):
    """Base of every error that is the user's to mend: one line, no traceback, exit code 2."""

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        self.where, self.what, self.hint = where, what, hint
        super().__init__(f"{where}: {what}; {hint}" if hint else f"{where}: {what}")


class CompileError(SynapccError):
    """The model, the rule file, the calibration data or the board does not allow a compilation."""
