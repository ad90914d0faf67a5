"""Benchmark suites: `measured(effort)` returns the contents of bench/results/NAME.json, without the machine."""
