"""Read the body of a request: raw bytes, forms and JSON."""
