"""Decoding of files in disposable, sandboxed processes."""
