"""Benchmarks: each suite prints a table and writes its figures to bench/results/."""
