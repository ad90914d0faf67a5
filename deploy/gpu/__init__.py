"""GPUs: discovery of the usable ones and placement of models on them."""
