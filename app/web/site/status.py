"""The views /metrics for Prometheus and /status for people.

nginx admits only the addresses in CLIPSTACK_MONITORS. No key is needed: Prometheus would have to store it.
"""

from flask import Blueprint, Response, jsonify, render_template, request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from app.auth.guard import public
from app.metrics.history import INTERVAL_S
from app.metrics.service import MetricsService
from app.parts import part
from app.web.params import number
from app.web.site import pages

FAR_S = 1e12  # largest `after`, seconds since the epoch

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@public
def metrics() -> Response:
    """Return all metrics in Prometheus' text format."""
    return Response(part(MetricsService).text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


@blueprint.get("/status.json")
@public
def status() -> Response:
    """Return the points of the last 15 minutes and the current one, as app/metrics/history.py defines them.

    The parameter `after` leaves out points up to that time, in seconds since the epoch.
    """
    service = part(MetricsService)
    after = number(request.args, "after", 0.0, 0.0, FAR_S)
    points = service.history.points() if service.history else []
    new_points = [point for point in points if after is None or point["time"] > after]
    response = jsonify(points=[*new_points, service.now()], every_s=INTERVAL_S)
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/status")
@public
def page() -> str:
    """Show the status page."""
    return render_template("status.html", static=pages.static_url)
