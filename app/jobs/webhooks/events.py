"""Events of a job: which ones its state has reached, their ids and their payloads."""

import hashlib
import json
import secrets
from datetime import datetime
from typing import NamedTuple

from app.jobs.storage.records import FINISHED, JobEvent, JobSpec, JobState
from app.nodes.ids import node_of, on_node

STARTED, PROGRESS, TEST = "job.started", "job.progress", "webhook.test"
PROGRESS_STEPS = (75.0, 50.0, 25.0)  # percent, largest first
ID_LENGTH = 32
_STATES = {STARTED: "running", PROGRESS: "running", "job.done": "done", "job.failed": "failed"}
_STATES["job.cancelled"] = "cancelled"


class Message(NamedTuple):
    """One event to send; `number` is its place among the events of its job, `occurred` seconds since the epoch."""

    id: str
    job: str
    owner: str
    number: int
    type: str
    url: str
    occurred: float
    body: str


def record_events(state: JobState, time: str) -> None:
    """Append to `state.events` what the state has reached: of several steps of progress only the last."""
    events = state.events
    if state.started is not None and not events:
        events.append(JobEvent(type=STARTED, time=time, percent=0.0))
    if state.state == "running" and state.percent < 100.0:
        step = next((step for step in PROGRESS_STEPS if step <= state.percent), 0.0)
        if step > max((event["percent"] for event in events), default=0.0):
            events.append(JobEvent(type=PROGRESS, time=time, percent=step))
    end = f"job.{state.state}"
    if state.state in FINISHED and not any(event["type"] == end for event in events):
        events.append(JobEvent(type=end, time=time, percent=state.percent))


def messages(spec: JobSpec, state: JobState) -> list[Message]:
    """Return all events that `state` lists; the same ones have the same ids and payloads at every call."""
    return [_message(spec, state, number, event) for number, event in enumerate(state.events)]


def _message(spec: JobSpec, state: JobState, number: int, event: JobEvent) -> Message:
    job_state = _STATES.get(event["type"], "running")
    home = f"/v1/jobs/{spec.id}"
    data = {
        "id": spec.id,
        "state": job_state,
        "percent": event["percent"],
        "name": spec.name,
        "model": spec.model,
        "created": spec.created,
        "error": state.error if job_state == "failed" else None,
        "links": {"self": home, "timeline": f"{home}/timeline"},
    }
    # An id of a job may be used again after its removal, but not with the same time of creation
    identity = "\0".join((spec.id, spec.created, event["type"], f"{event['percent']:g}"))
    return Message(
        id=_id(node_of(spec.id), hashlib.sha256(identity.encode()).hexdigest()),
        job=spec.id,
        owner=spec.owner,
        number=number,
        type=event["type"],
        url=spec.callback_url,
        occurred=datetime.fromisoformat(event["time"]).timestamp(),
        body=_body(event["type"], event["time"], data),
    )


def new_test_message(owner: str, url: str, time: str, node: str = "") -> Message:
    """Return an event of a node that reports nothing: it tries a receiver."""
    occurred = datetime.fromisoformat(time).timestamp()
    body = _body(TEST, time, {"message": "Clipstack reaches this receiver."})
    return Message(_id(node, secrets.token_hex(ID_LENGTH)), "", owner, 0, TEST, url, occurred, body)


def _id(node: str, digest: str) -> str:
    return f"msg_{on_node(node, digest[:ID_LENGTH])}"


def _body(kind: str, time: str, data: dict[str, object]) -> str:
    return json.dumps({"type": kind, "timestamp": time, "data": data}, separators=(",", ":"))
