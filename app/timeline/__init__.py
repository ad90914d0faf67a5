"""Timelines of videos: model windows over the whole length, scene cuts, and segments of one label."""
