"""Parser of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One event; `data` is all its data lines, joined."""

    name: str
    data: str


async def parse_events(lines: AsyncIterator[str]) -> AsyncGenerator[Event, None]:
    """Yield the events of lines without their ends; comments and other fields are ignored."""
    name, data = "", list[str]()
    async for line in lines:
        field, _, value = line.partition(":")
        if not line:
            if data:
                yield Event(name or "message", "\n".join(data))
            name, data = "", []
        elif field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))
