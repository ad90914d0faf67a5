"""From a network to the files that an engine loads."""
