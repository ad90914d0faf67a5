"""Code samples of the operations: curl for all, the Python client and JavaScript's fetch for the main ones."""

from app.openapi.job_schemas import ENTRY_ID, JOB_ID
from app.openapi.route import Route

_TUS = '-H "Tus-Resumable: 1.0.0"'
_OPTIONS = {
    "create_upload": f'{_TUS} -H "Upload-Length: 1048576" -i',
    "get_upload_offset": _TUS,
    "append_to_upload": f'{_TUS} -H "Upload-Offset: 0" \\\n  -H "Content-Type: application/offset+octet-stream" '
    "--data-binary @film.mp4",
    "delete_upload": _TUS,
}
_OUTPUT_FILES = {"image/jpeg": "frame.jpg", "video/*": "film.mp4"}

# Body of `with Client(url) as clipstack:`
_PYTHON = {
    "classify": 'result = clipstack.classify("clip.mp4", top_k=3)\nprint(result.predictions[0].label)',
    "submit_job": 'job = clipstack.submit("film.mp4", hop_s=1.0)\nprint(job.id, job.state)',
    "list_jobs": "for job in clipstack.jobs(limit=20):\n    print(job.id, job.state, job.name)",
    "get_job": f'job = clipstack.job("{JOB_ID}")\nprint(job.state, job.progress.percent)',
    "delete_job": f'clipstack.remove("{JOB_ID}")',
    "follow_job": f'for job in clipstack.follow("{JOB_ID}"):\n    print(job.state, job.progress.percent)',
    "get_timeline": f'csv = clipstack.export("{JOB_ID}", "csv")\nprint(csv.decode())',
    "give_feedback": f'clipstack.give_feedback(job="{JOB_ID}", labels=["pan_left"], start_s=0, end_s=4.5)',
    "list_feedback": 'for entry in clipstack.feedback(state="unsure"):\n    print(entry.file_name, entry.predicted)',
    "delete_feedback": f'clipstack.remove_feedback("{ENTRY_ID}")',
    "search": 'found = clipstack.search("clip.mp4", limit=5)\nfor match in found.matches:\n'
    "    print(match.name, match.start_s, match.similarity)",
    "list_models": "for model in clipstack.models():\n    print(model.name, len(model.labels))",
}

# JavaScript that prints the main part of `response`
_SHOW = {
    "classify": "const { predictions } = await response.json();\nconsole.log(predictions[0].label);",
    "submit_job": "const job = await response.json();\nconsole.log(job.id, job.state);",
    "list_jobs": "const { jobs } = await response.json();\nconsole.log(jobs.map((job) => job.id));",
    "get_job": "const job = await response.json();\nconsole.log(job.state, job.progress.percent);",
    "delete_job": "const { state } = await response.json();\nconsole.log(state);",
    "follow_job": "const events = response.body.pipeThrough(new TextDecoderStream());\n"
    "for await (const text of events) console.log(text);",
    "get_timeline": "const { segments } = await response.json();\nconsole.log(segments);",
    "search": "const { matches } = await response.json();\n"
    "console.log(matches.map((match) => [match.job, match.start_s]));",
    "give_feedback": "const { state } = await response.json();\nconsole.log(state);",
    "list_feedback": "const { feedback } = await response.json();\nconsole.log(feedback.map(({ id }) => id));",
    "delete_feedback": "const { state } = await response.json();\nconsole.log(state);",
    "list_models": "const { models } = await response.json();\nconsole.log(models.map((model) => model.name));",
}
_QUERIES = {
    "classify": "?top_k=3",
    "submit_job": "?hop_s=1",
    "list_jobs": "?limit=20",
    "give_feedback": f"?job={JOB_ID}&start_s=0&end_s=4.5&labels=pan_left",
    "list_feedback": "?state=unsure",
    "list_webhooks": "?state=dead",
    "search": "?limit=5",
    "test_webhook": "?callback_url=https://hooks.example.com/clipstack",
}
_FILES = {"classify": "clip.mp4", "submit_job": "film.mp4", "search": "clip.mp4"}


def code_samples(route: Route, url: str, key: bool) -> list[dict[str, str]]:
    """Return the samples of an operation at `url`, in the form of the extension `x-codeSamples`.

    If requests need a `key`, the samples take it from CLIPSTACK_KEY.
    """
    key = key and not route.public
    in_path = (item for item in route.parameters if item.example and item.location == "path")
    places = {"place": 0} | {item.name: item.example for item in in_path}
    address = url + route.path.format(**places) + _QUERIES.get(route.id, "")
    result = [{"lang": "Shell", "label": "curl", "source": _curl(route, address, key)}]
    if route.id in _PYTHON:
        result.append({"lang": "Python", "label": "Python client", "source": _python(route, url)})
        result.append({"lang": "JavaScript", "label": "fetch", "source": _javascript(route, address, key)})
    return result


def _curl(route: Route, address: str, key: bool) -> str:
    contents = next(iter(route.responses.values()))
    parts = ["curl -sS"]
    if route.id in _FILES:
        parts.append(f"-X POST -T {_FILES[route.id]}")
    elif route.method == "head":
        parts.append("-I")
    elif route.method != "get":
        parts.append(f"-X {route.method.upper()}")
    if "text/event-stream" in contents:
        parts.append("-N")
    if route.id in _OPTIONS:
        parts.append(_OPTIONS[route.id])
    parts += [f"-o {_OUTPUT_FILES[kind]}" for kind in list(contents)[:1] if kind in _OUTPUT_FILES]
    lines = [" ".join(parts), '-H "Authorization: Bearer $CLIPSTACK_KEY"'] if key else [" ".join(parts)]
    return " \\\n  ".join([*lines, f'"{address}"'])


def _python(route: Route, url: str) -> str:
    """Return a program; the client itself reads CLIPSTACK_KEY."""
    body = _PYTHON[route.id].replace("\n", "\n    ")
    return f'from clipstack_client import Client\n\nwith Client("{url}") as clipstack:\n    {body}'


def _javascript(route: Route, address: str, key: bool) -> str:
    """Return a module for Node.js; in a page, the file comes from an input."""
    lines, options = [], []
    if route.method != "get":
        options.append(f'method: "{route.method.upper()}"')
    if route.id in _FILES:
        name = _FILES[route.id]
        lines += ['import { openAsBlob } from "node:fs";', "", "const body = new FormData();"]
        lines.append(f'body.append("file", await openAsBlob("{name}"), "{name}"); // in a page: input.files[0]')
        options.append("body")
    if key:
        options.append("headers: { Authorization: `Bearer ${process.env.CLIPSTACK_KEY}` }")
    arguments = ", {\n  " + ",\n  ".join(options) + ",\n}" if options else ""
    lines += [f'const response = await fetch("{address}"{arguments});']
    lines += ["if (!response.ok) throw new Error((await response.json()).error.message);", _SHOW[route.id]]
    return "\n".join(lines)
