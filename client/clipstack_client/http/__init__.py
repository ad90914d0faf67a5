"""HTTP: connections, responses, retries and server-sent events."""
