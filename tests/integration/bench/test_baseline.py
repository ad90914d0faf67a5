"""One baseline of the benchmarks, started as a person starts it, answers as its network does, and grows."""

import torch

from bench.baselines.clips import frames, input_spec, normalised
from bench.fixtures import networks, servers, videos


def test_flask_with_torch_answers_as_the_network_does() -> None:
    picture = videos.photograph().path
    served = networks.load_network(networks.PICTURE)
    spec = input_spec(networks.PICTURE)
    with torch.inference_mode():
        best = int(served.network(torch.from_numpy(normalised(frames(str(picture), spec), spec))).argmax())
    with servers.baseline("flask_torch", "--workers", "1", model=networks.PICTURE) as side:
        answer = side.answer(picture)
        servers.grow(side, 3)
        assert len(side.pids) == 4  # and gunicorn's master
        assert [side.ask(picture)["label"] for _ in range(6)] == [answer.label] * 6
    assert answer == (f"label {best}", "f32")
