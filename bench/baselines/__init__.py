"""Baselines for comparison: services as people commonly build them, one file each, started separately.

    python -m bench.baselines.flask_torch --port 9000 [--model x3d_m] [--workers 2] [--precision f32]
    curl -F file=@clip.mp4 http://127.0.0.1:9000/classify          {"label": "label 7", "score": 0.93, "precision": "f32"}

All use the weights that Clipstack serves (bench/fixtures/networks.py) and the same frames. They are tuned as far as
their manuals go: one worker per core, decord that scales while it decodes, torch without gradients, and a warm-up
before the first request. Threads, hints and precision are the library's defaults, as its users get them; --precision
pins the precision. `precision` in the answer is read from the running engine.
"""
