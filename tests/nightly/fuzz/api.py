"""Odd requests to every address, made by schemathesis from the API's own description; answers are held to it.

python -m tests.nightly.fuzz.api [--examples 50] [--seed 1]      `make fuzz` does

The description gets values that random requests would not hit: ids of real jobs, and files in base64.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from bench.environment import describe_machine
from deploy.stack.stack import Stack
from tests.nightly.fuzz import seeds
from tests.nightly.fuzz.stack_watch import holding, lost
from tests.support.films import panning, write_video
from tests.support.job_requests import wait_for_job
from tests.support.stacks import CHECKOUT, running_stack, until
from triton_repo.zoo.names import BUILT_IN

RESULT = CHECKOUT / "bench" / "results" / "fuzz_api.json"
EXAMPLES = 50  # of every address, beside those that go through its parameters one by one
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance",
)  # fmt: skip
ANSWER_S, RUN_S = 40, 600
# Chunks of resumable uploads are bytes
HOOKS = """\
import schemathesis
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
"""
PATIENT_MS = 20_000  # a shorter deadline gives 504, which schemathesis always reports as a failure


def enriched(
    document: dict[str, Any], kept: list[str], doomed: list[str], files: list[bytes], uploads: list[str]
) -> dict[str, Any]:
    """The description with ids of jobs and uploads, some of which may be deleted, and files that can be looked at."""
    description = copy.deepcopy(document)
    for schema in description["components"]["schemas"].values():
        schema["additionalProperties"] = False  # a field that is not described would be a fault of the description
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "identity" and path.startswith("/v1/uploads/"):
                    ids = uploads[:1] if method == "delete" else uploads[1:]
                    parameter["schema"] = {"type": "string", "enum": [*ids, "f" * 32]}
                elif parameter["name"] == "identity":
                    ids = doomed if method == "delete" else kept
                    parameter["schema"] = {"type": "string", "enum": [*ids, "f" * 24]}
                if parameter["name"] == "Tus-Resumable":
                    parameter["schema"] = {"type": "string", "enum": ["1.0.0", "0.2.2"]}
                if parameter["name"] == "X-Deadline-Ms":
                    parameter["schema"]["minimum"] = PATIENT_MS
                if parameter["name"] == "model":
                    parameter["schema"] = {"type": "string", "enum": [*BUILT_IN, "no such"]}
            if "requestBody" in operation and path == "/v1/classify":
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                texts = [base64.b64encode(content).decode() for content in files]
                schema["properties"]["file"] = {"type": "string", "enum": [*texts, "", "AAAA", "no base64"]}

    return description


def run_examples(stack: Stack, examples: int, seed: int) -> dict[str, Any]:
    """Run the examples against `stack` and return counts and failures; the stack must be unchanged afterwards."""
    picture = next(seed_file.content for seed_file in seeds.made() if seed_file.name == "jpeg")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        film = write_video(Path(folder) / "film.mp4", panning(30, 96, 64)).read_bytes()
        with httpx.Client(base_url=stack.url, timeout=60) as http:
            ids = [http.post("/v1/jobs", content=film, params={"hop_s": "0.5"}).json()["id"] for _ in range(3)]
            for identity in ids:
                wait_for_job(http, identity)
            tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "1000000"}
            uploads = [http.post("/v1/uploads", headers=tus).json()["id"] for _ in range(3)]
            document = enriched(http.get("/v1/openapi.json").json(), ids[:1], ids[1:], [film, picture], uploads)
        before = holding(stack)
        status, report = _run(stack, document, Path(folder), examples, seed)
    until(lambda: not lost(stack, before, holding(stack)), 30)
    return {"seed": seed, "examples": examples, "machine": describe_machine(), "status": status, **report}


def _run(stack: Stack, document: dict[str, Any], folder: Path, examples: int, seed: int) -> tuple[int, dict[str, Any]]:
    description, events = folder / "openapi.json", folder / "events.ndjson"
    description.write_text(json.dumps(document))
    words = [str(stack.python.parent / "schemathesis"), "run", str(description), "--url", stack.url]
    words += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples)]
    words += ["--seed", str(seed), "--request-timeout", str(ANSWER_S), "--max-response-time", str(ANSWER_S)]
    # One thread: in Python 3.11 two threads that parse Python at the same time, as Hypothesis does, can
    # break each other's (https://github.com/python/cpython/issues/106905, SystemError)
    words += ["--workers", "1", "--report", "ndjson", "--report-ndjson-path", str(events), "--continue-on-failure"]
    (folder / "hooks.py").write_text(HOOKS)
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(folder)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=RUN_S, cwd=folder, env=environment)
    output = done.stdout
    count = re.search(r"(\d+) generated", output)
    counts = {"requests": int(count[1]) if count else 0, "operations": sum(map(len, document["paths"].values()))}
    return done.returncode, counts | {
        "said": output[max(0, output.find("= FAILURES")) :][:20_000] if done.returncode else _summary(output)
    }


def _summary(output: str) -> str:
    return " ".join(line.strip() for line in output.splitlines() if re.search(r"\d+ generated", line))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=EXAMPLES)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with running_stack(max_jobs="1000") as stack:
        result = run_examples(stack, options.examples, options.seed)
    print(result["said"])
    if result["status"] == 0 and options.examples >= EXAMPLES:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return int(result["status"])


if __name__ == "__main__":
    sys.exit(main())
