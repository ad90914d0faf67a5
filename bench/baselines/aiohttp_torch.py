"""(b) aiohttp under gunicorn, torch in every worker, in a thread: the loop takes uploads meanwhile.

python -m bench.baselines.aiohttp_torch --port 9000
"""

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor

from aiohttp import BodyPartReader, web

from bench.baselines.command import gunicorn, parse

CHUNK_BYTES = 1 << 20


async def create_app() -> web.Application:
    """Return the application with the model loaded and warm; gunicorn's aiohttp worker calls this in every worker."""
    from bench.baselines.clips import TorchClassifier

    classifier = TorchClassifier()
    classifier.warm_up()
    thread = ThreadPoolExecutor(1)  # more threads would share the same cores

    async def classify(request: web.Request) -> web.Response:
        with tempfile.NamedTemporaryFile(suffix=".media") as file:
            async for part in await request.multipart():
                if isinstance(part, BodyPartReader) and part.name == "file":
                    while chunk := await part.read_chunk(CHUNK_BYTES):
                        file.write(chunk)
            file.flush()
            result = await asyncio.get_running_loop().run_in_executor(thread, classifier.classify, file.name)
            return web.json_response(result)

    app = web.Application(client_max_size=4 << 30)
    app.router.add_post("/classify", classify)
    return app


if __name__ == "__main__":
    gunicorn(parse(__doc__), "bench.baselines.aiohttp_torch:create_app", "--worker-class", "aiohttp.GunicornWebWorker")
