"""Scaling of `clipstack bulk`: measured on one and two nodes of one core each, modelled beyond (docs/bulk.md).

python -m bench.bulk                  measure, about eight minutes on a quiet machine: bench/results/bulk.json
python -m bench.bulk.page             model, and write the table and the plot of docs/bulk.md
"""
