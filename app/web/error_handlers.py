"""Error handlers of the app: every error is JSON of one form."""

import logging

from flask import Blueprint, Response, g, jsonify
from werkzeug.exceptions import HTTPException

from app import errors
from app.nodes.ids import OnOtherNode

blueprint = Blueprint("error_handlers", __name__)
log = logging.getLogger(__name__)


@blueprint.app_errorhandler(errors.ClipstackError)
def answer_error(error: errors.ClipstackError) -> Response:
    """Return the JSON response for `error`, with the Retry-After and WWW-Authenticate headers it needs."""
    g.error_code = error.code
    response = jsonify(error={"code": error.code, "message": error.message, "request_id": g.request_id})
    response.status_code = error.status
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.RateLimited):
        response.headers.update(error.headers)
    return response


@blueprint.app_errorhandler(OnOtherNode)
def pass_on(error: OnOtherNode) -> Response:
    """Have nginx send the request, with its body, to the node that it is for (deploy/nginx/peers.py)."""
    return Response(headers={"X-Accel-Redirect": f"@peer_{error.node}"})


@blueprint.app_errorhandler(HTTPException)
def answer_http_error(error: HTTPException) -> Response:
    """Return one of Flask's own errors in the API's error format."""
    for kind in (errors.NotFound, errors.MethodNotAllowed, errors.TooLarge):
        if error.code == kind.status:
            response = answer_error(kind(error.description or kind.code))
            break
    else:
        response = answer_error(errors.BadRequest(error.description or "the request is not valid"))
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


@blueprint.app_errorhandler(Exception)
def answer_surprise(error: Exception) -> Response:
    """Log an unexpected exception and return 500 with the request id, which finds the traceback in the log.

    A lack of file descriptors, memory or threads passes: it is 503.
    """
    log.exception("request %s failed", g.get("request_id", "-"), exc_info=error)
    if errors.is_lack_of_resources(error):
        return answer_error(errors.NotReady("the service has too few file descriptors or too little memory: retry"))
    return answer_error(errors.ClipstackError("the service made a mistake; it has been logged"))
