"""The compiler: model and rule file in, Plan and C out."""

from typing import TYPE_CHECKING

from .lazy import exports

if TYPE_CHECKING:
    from .compile import Compiled, compile_model
    from .errors import CompileError, SynapccError
    from .ir.plan import Plan
    from .stages.plan_file import load_plan
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "Compiled": "compile",
            "compile_model": "compile",
            "CompileError": "errors",
            "SynapccError": "errors",
            "Plan": "ir.plan",
            "load_plan": "stages.plan_file",
        },
    )

__all__ = ["CompileError", "Compiled", "Plan", "SynapccError", "compile_model", "load_plan"]
