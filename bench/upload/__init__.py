"""Benchmark of smaller uploads: time and answers of whole files and reductions, over links of known rates."""
