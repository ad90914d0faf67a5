"""Command `clipstack bulk`: classify a whole archive."""
