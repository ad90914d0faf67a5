"""Load generators: ApacheBench, a client of our own, and an open loop."""
