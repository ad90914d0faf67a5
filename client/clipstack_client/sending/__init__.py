"""Ways to send a file: as a body, in chunks that continue, from a URL, several pictures in one form."""
