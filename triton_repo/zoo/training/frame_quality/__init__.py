"""Pictures with known defects for `frame_quality`: make them, train and evaluate."""
