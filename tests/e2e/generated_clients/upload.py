"""Uploads a file with a client that openapi-python-client generated from the service's description.

Usage: python upload.py URL FILE, in the folder of the package `generated`.
"""

import json
import sys
from pathlib import Path

from generated import Client
from generated.api.classify import classify
from generated.models import Classification, ClassifyFilesBody
from generated.types import File

url, path = sys.argv[1:]
client = Client(base_url=url, timeout=60)


def file() -> File:
    return File(payload=Path(path).open("rb"), file_name="clip.mp4")


def labels(answer: object) -> list[str]:
    assert isinstance(answer, Classification), answer
    return [prediction.label for prediction in answer.predictions]


form = classify.sync(client=client, body=ClassifyFilesBody(file=file(), top_k=2, clips=1))
raw = classify.sync(client=client, body=file(), top_k=3)
refused = classify.sync(client=client, body=file(), model="no_such")
print(json.dumps({"form": labels(form), "raw": labels(raw), "code": refused.error.code}))
