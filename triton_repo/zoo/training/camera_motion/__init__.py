"""Films of a moving camera for `camera_motion`: make them, train and evaluate."""
