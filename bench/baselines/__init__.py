"""Baselines for comparison: services as people commonly build them, one file each, started separately.

    python -m bench.baselines.flask_torch --port 9000 [--model x3d_m] [--workers 2]
    curl -F file=@clip.mp4 http://127.0.0.1:9000/classify          {"label": "label 7", "score": 0.93}

All use the weights that Clipstack serves (bench/fixtures/networks.py) and the same frames, and are tuned as far as
their manuals go: one worker per core, decord that scales while it decodes, torch without gradients, and a warm-up
before the first request.
"""
