"""The context of one classification on its way through the pipeline."""

import socket
from dataclasses import dataclass, field

from app.admission.deadline import Deadline
from app.admission.queue import Lane
from app.decoding.pool import TimeBudget
from app.errors import Forbidden
from app.pipeline.timings import StageTimings


@dataclass(slots=True)
class RequestContext:
    """The owner, rights, deadline and timings of one request.

    `owner` is the id of its API key, empty without keys; `allowed_lanes` are those of the key, None for all. The work
    is cancelled at the deadline and when the client ends its `connection`, if there is one. `budget` is the time that
    the file may spend in decoder processes, over all tries; None for the default.
    """

    deadline: Deadline
    timings: StageTimings = field(default_factory=StageTimings)
    owner: str = ""
    allowed_lanes: frozenset[Lane] | None = None
    connection: socket.socket | None = None
    budget: TimeBudget | None = None

    def check_lane(self, lane: Lane) -> None:
        """Raise Forbidden if the API key may not use the lane."""
        if self.allowed_lanes is not None and lane not in self.allowed_lanes:
            allowed = ", ".join(item.name.lower() for item in sorted(self.allowed_lanes)) or "none"
            raise Forbidden(f"this API key does not allow {lane.name.lower()} files (allowed: {allowed})")
