"""Metrics of the service: /metrics for Prometheus and /status for people.

    request ────▶ middleware.py ─┐                                       ┌─▶ exposition.py ──▶ GET /metrics
                                 ├─▶ recorder.py ──▶ a file per kind and ┤
    components ─▶ sampler.py ────┘   process (multiprocess.py)           └─▶ history.py ─────▶ GET /status, /status.json

definitions.py names and explains every metric. The table in docs/monitoring.md is generated from it, and tests use it.
"""
