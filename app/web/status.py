"""/metrics for Prometheus, and /status for those who have none.

nginx lets in whom CLIPSTACK_MONITORS names, and nobody else; they need no key, which Prometheus would have to keep.
"""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify, render_template, request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from app.auth.guard import open_to_all
from app.metrics.history import EVERY_S
from app.metrics.service import MetricsService
from app.web import pages
from app.web.params import number

FAR_S = 1e12  # seconds since the epoch

blueprint = Blueprint("metrics", __name__)


def _monitor() -> MetricsService:
    monitor: MetricsService = current_app.extensions["clipstack.monitor"]
    return monitor


@blueprint.get("/metrics")
@open_to_all
def metrics() -> Response:
    return Response(_monitor().text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


@blueprint.get("/status.json")
@open_to_all
def status() -> Response:
    """The last quarter of an hour, or what came `after`, and this moment, as app/metrics/history.py has them."""
    monitor = _monitor()
    after = number(request.args, "after", 0.0, 0.0, FAR_S)
    known = monitor.history.points() if monitor.history else []
    new = [each for each in known if after is None or each["time"] > after]
    response = jsonify(points=[*new, monitor.now()], every_s=EVERY_S)
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/status")
@open_to_all
def page() -> str:
    return render_template("status.html", static=pages.static_url)
