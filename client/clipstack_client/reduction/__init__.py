"""Reduction of videos before upload: encoded again (`shrink`), or only the frames that the model needs."""
