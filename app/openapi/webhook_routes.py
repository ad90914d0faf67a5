"""The routes of webhooks and the schemas of their responses."""

from app import errors
from app.nodes.ids import id_pattern
from app.openapi.job_schemas import JOB_ID
from app.openapi.route import Parameter, Route, integer, json_of
from app.openapi.schemas import COUNT, MISSING_NODES, TEXT, TIME, Schema, array, nullable, one_of, prop, record, ref
from app.web import webhooks

_ID = "msg_4f6d2a9c0b7e1d3f5a6b8c9d0e1f2a3b"
_TYPES = ("job.started", "job.progress", "job.done", "job.failed", "job.cancelled", "webhook.test")
_CURSOR = f"1777888820.123~{_ID}"
_URL = "https://hooks.example.com/clipstack"

SCHEMAS: dict[str, Schema] = {
    "Webhook": record(
        id=prop(TEXT, "Id of the event: the header `webhook-id`, the same at every attempt.", _ID),
        type=prop(one_of(*_TYPES), "What happened.", "job.done"),
        job=prop(nullable(TEXT), "Id of the job; null for a test.", JOB_ID),
        url=prop(TEXT, "Receiver.", _URL),
        state=prop(one_of(*webhooks.STATES), "`dead`: no attempt is left.", "delivered"),
        created=prop(TIME, "Time of the event, UTC.", "2026-05-04T10:00:20.000Z"),
        attempts=prop(COUNT, "Attempts so far.", 1),
        next_attempt=prop(nullable(TIME), "Time of the next attempt; null: none.", "2026-05-04T10:00:25.000Z"),
        ended=prop(nullable(TIME), "Time of the last attempt; null while it waits.", "2026-05-04T10:00:21.000Z"),
        status=prop(nullable(COUNT), "HTTP status of the last attempt; null without an answer.", 204),
        error=prop(nullable(TEXT), "Why the last attempt failed.", "the receiver answered 500"),
    ),
    "Webhooks": record(
        webhooks=prop(array(ref("Webhook")), "Events, newest first."),
        next_cursor=prop(nullable(TEXT), "`cursor` of the next page; null after the last one.", _CURSOR),
        missing_nodes=MISSING_NODES,
    ),
    "WebhookSecret": record(secret=prop(TEXT, "Secret of this API key.", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
}

CALLBACK_URL = Parameter(
    "callback_url",
    {"type": "string", "format": "uri"},
    "Receiver of the job's webhooks; its host must be in `CLIPSTACK_WEBHOOKS`.",
    example=_URL,
)
_ID_TEXT: Schema = {"type": "string", "pattern": f"^msg_{id_pattern(32)}$"}
_IDENTITY = Parameter("identity", _ID_TEXT, "Id of the event.", "path", _ID)
DETAILS = {
    "list_webhooks": "Lists the events of jobs with a `callback_url`, and what became of them. `state=dead` is the "
    "dead-letter list. With keys, these are the key's own.",
    "get_webhook": "Returns one event.",
    "retry_webhook": "Sends an event again, with the same id and all its attempts.",
    "test_webhook": "Sends an event of type `webhook.test` once. Poll it until `state` is not `pending`.",
    "get_webhook_secret": "Returns the secret with which receivers of this key's jobs check signatures.",
}


def webhook_routes() -> list[Route]:
    """Return the routes."""
    limit = Parameter("limit", integer(webhooks.MAX_LISTED, 50), "Number of events, newest first.")
    state = Parameter("state", one_of(*webhooks.STATES, webhooks.ANY) | {"default": webhooks.ANY}, "Only these.")
    cursor = Parameter("cursor", TEXT, "`next_cursor` of the page before.", example=_CURSOR)
    busy, missing, path = (errors.Overloaded,), (errors.WebhookNotFound,), "/v1/webhooks"
    return [
        Route(path, "get", "list_webhooks", "Webhooks", "List events",
              {200: json_of("Webhooks")}, busy, (limit, state, cursor)),
        Route(f"{path}/{{identity}}", "get", "get_webhook", "Webhooks", "Get an event",
              {200: json_of("Webhook")}, busy + missing, (_IDENTITY,)),
        Route(f"{path}/{{identity}}/retry", "post", "retry_webhook", "Webhooks", "Send an event again",
              {202: json_of("Webhook")}, busy + missing, (_IDENTITY,)),
        Route(f"{path}/test", "post", "test_webhook", "Webhooks", "Try a receiver",
              {202: json_of("Webhook")}, busy, (CALLBACK_URL,)),
        Route(f"{path}/secret", "get", "get_webhook_secret", "Webhooks", "Get the secret",
              {200: json_of("WebhookSecret")}, (errors.Forbidden, errors.NotReady)),
    ]  # fmt: skip
