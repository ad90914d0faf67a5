"""Train and evaluate the models that come with Clipstack."""
