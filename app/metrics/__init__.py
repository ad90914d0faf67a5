"""What the service tells of itself in numbers: on /metrics for Prometheus, on /status for a person.

    request ──▶ requests.py ─┐                                    ┌─▶ exposition.py ──▶ GET /metrics
                             ├─▶ meter.py ──▶ one file a kind ────┤
    parts ────▶ watch.py ────┘   and process (files.py)           └─▶ history.py ─────▶ GET /status, /status.json

table.py names every number, with its meaning; docs/monitoring.md and the tests are made from it.
"""
