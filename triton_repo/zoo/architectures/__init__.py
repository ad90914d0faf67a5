"""Networks by name, their published weights, and where those come from."""
