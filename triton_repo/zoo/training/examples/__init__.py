"""Labelled files for the tutorial docs/train.md."""
