"""An inference that takes longer than a server allows pings for by default."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np
from tritonclient.grpc import InferInput

from app.inference.channel import PING_S
from deploy.stack.ports import free_ports
from tests.support import scripted_model
from tests.support.triton_server import running_triton

CALL_S = 5.5 * PING_S  # a server with its default flags closes the connection at the fourth ping


def test_pings_of_a_long_call_do_not_end_the_connection() -> None:
    with tempfile.TemporaryDirectory(prefix="triton-") as folder:
        models = Path(folder, "models")
        scripted_model.add(models)
        clip = np.full((1, 1, 8, 8, 3), scripted_model.CALCULATE, np.uint8)
        sent = InferInput("CLIP", clip.shape, "UINT8")
        sent.set_data_from_numpy(clip)
        with running_triton(models, Path(folder), f"127.0.0.1:{free_ports(1)[0]}") as client:
            release = threading.Timer(CALL_S, (models / "scripted" / scripted_model.RELEASED).touch)
            release.start()
            try:
                scores = client.infer("scripted", [sent], client_timeout=CALL_S + 30).as_numpy("SCORES")
            finally:
                release.join()
        assert scores is not None and scores[0, 0] == scripted_model.CALCULATE
