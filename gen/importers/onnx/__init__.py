""".onnx files: `load` makes a Graph of one."""

from .reader import load

__all__ = ["load"]
