"""Processing of one upload in a worker: pipeline, result cache, maintenance and readiness."""
