"""Media basics: formats, properties, frame sampling, geometry, colour conversion and file handles."""
