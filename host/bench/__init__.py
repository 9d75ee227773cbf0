"""Counting instructions, cycles and bytes, and the tables of docs/BENCHMARKS.md."""
