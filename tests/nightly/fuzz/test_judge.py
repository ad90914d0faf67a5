"""The judge lets nothing pass that was not promised."""

from __future__ import annotations

import json

import pytest

from app.settings import Settings
from tests.nightly.fuzz.judge import Judge, Reply, cause, word

JUDGE = Judge(Settings.from_environment({"CLIPSTACK_RUN_DIR": "/srv/clipstack/run"}), "/v1/classify", bound_s=10)
MEDIA = {"width": 64, "height": 64, "frames": 10, "duration_s": 1.0, "fps": 10.0}
CLIP = {"times_s": [0.0, 0.1], "frames": [0, 1]}
GOOD = {"media": MEDIA, "predictions": [{"label": "a", "score": 0.9}, {"label": "b", "score": 0.1}], "clips": [CLIP]}


def reply(status: int, told: object, seconds: float = 1.0, **headers: str) -> Reply:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, seconds)


def error(code: str, message: str = "the file is damaged") -> dict[str, dict[str, str]]:
    return {"error": {"code": code, "message": message, "request_id": "1"}}


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, GOOD),
        reply(422, error("undecodable")),
        reply(415, error("unsupported_media")),
        reply(422, error("limit_exceeded", "8000x10551 pixels are more than the 36000000 allowed")),
        reply(503, error("overloaded"), retry_after="2"),
    ],
    ids=word,
)
def test_what_was_promised_passes(answer: Reply) -> None:
    assert JUDGE.faults(answer) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(0, b"ReadTimeout"), "no answer"),
        (reply(200, GOOD, seconds=11), "after 11.0 s"),
        (reply(502, b"<html>Bad Gateway</html>"), "no JSON"),
        (reply(200, b'{"fps": NaN}'), "no JSON"),
        (reply(500, error("internal")), "500 internal"),
        (reply(418, error("teapot")), "not described"),
        (reply(422, error("job_not_found")), "not described"),
        (reply(503, error("overloaded")), "without Retry-After"),
        (reply(422, {"error": "damaged"}), "without code"),
        (reply(422, error("undecodable", "decord could not open it")), "decord"),
        (reply(422, error("undecodable", "no such file: /srv/clipstack/run/uploads/1")), "path"),
        (reply(422, error("undecodable", "moov atom not found at 0x5581aa")), "0x5581aa"),
        (reply(200, GOOD | {"predictions": []}), "scores"),
        (reply(200, GOOD | {"media": MEDIA | {"fps": -1.0}}), "fps"),
        (reply(200, GOOD | {"media": MEDIA | {"width": 0}}), "nothing"),
        (reply(200, GOOD | {"clips": [CLIP | {"frames": [0, 10]}]}), "frame 10 of 10"),
        (reply(200, GOOD | {"clips": [CLIP | {"times_s": [0.1, 0.0]}]}), "a clip"),
    ],
)
def test_what_was_not_promised_is_told(answer: Reply, said: str) -> None:
    assert any(said in fault for fault in JUDGE.faults(answer)), JUDGE.faults(answer)


def test_the_end_of_a_decoder_is_known_by_its_words() -> None:
    died = "the file is damaged so badly that it broke its decoder"
    assert cause(reply(422, error("undecodable", died))) == "its process died"
    assert cause(reply(422, error("undecodable"))) is None
