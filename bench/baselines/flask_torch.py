"""(a) Flask and gunicorn, torch in every worker: the form's file into a temporary file, decord, torch eager.

python -m bench.baselines.flask_torch --port 9000
"""

import tempfile
from typing import Any

from flask import Flask, request

from bench.baselines.command import gunicorn, parse


def create_app() -> Flask:
    """Return the application with the model loaded and warm; gunicorn calls this in every worker."""
    from bench.baselines.clips import TorchClassifier

    classifier = TorchClassifier()
    classifier.warm_up()
    return routes(classifier)


def routes(classifier: Any) -> Flask:
    """Return an application whose `POST /classify` answers the form field `file` by `classifier.classify(path)`."""
    app = Flask(__name__)

    @app.post("/classify")
    def classify() -> dict[str, Any]:
        with tempfile.NamedTemporaryFile(suffix=".media") as file:
            request.files["file"].save(file.name)
            result: dict[str, Any] = classifier.classify(file.name)
            return result

    @app.post("/first_frame")
    def first_frame() -> dict[str, Any]:
        import decord

        with tempfile.NamedTemporaryFile(suffix=".media") as file:
            request.files["file"].save(file.name)
            return {"shape": list(decord.VideoReader(file.name, num_threads=1)[0].shape)}

    return app


if __name__ == "__main__":
    gunicorn(parse(__doc__), "bench.baselines.flask_torch:create_app()")
