"""Client of Triton: models, inference, transports and retries."""
