"""The compiler: model and rule file in, Plan and C out."""

from .compile import Compiled, compile_model
from .errors import CompileError, SynapccError
from .plan import Plan, load_plan

__all__ = ["CompileError", "Compiled", "Plan", "SynapccError", "compile_model", "load_plan"]
