"""Benchmark suites: `measured(profile)` returns the contents of bench/results/NAME.json, without the machine."""
