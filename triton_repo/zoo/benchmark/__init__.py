"""Compare the engines of a model in accuracy and time."""
