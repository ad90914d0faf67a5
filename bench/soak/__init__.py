"""Half an hour of load that asks whether anything grows."""
