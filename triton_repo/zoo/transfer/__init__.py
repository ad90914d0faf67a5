"""Transfer learning: a new last layer, trained on the features of a network that stays as it is."""
