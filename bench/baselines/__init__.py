"""What Clipstack is measured against: services as people build them, one file each, each to be started by itself.

    python -m bench.baselines.flask_torch --port 9000 [--model x3d_m] [--workers 2]
    curl -F file=@clip.mp4 http://127.0.0.1:9000/classify          {"label": "label 7", "score": 0.93}

All have the weights that Clipstack serves (bench/fixtures/networks.py), look at the same frames and are tuned as far as their
manuals go: as many workers as cores, decord that scales while it decodes, torch without gradients, a warm-up before the
first request. None is held back.
"""
