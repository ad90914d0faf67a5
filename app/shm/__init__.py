"""Shared-memory slots that carry clips from the decoders to Triton, in system memory and on a GPU."""
