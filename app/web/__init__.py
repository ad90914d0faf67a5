"""The HTTP API and the pages: parse a request, call one function, answer JSON or HTML."""
