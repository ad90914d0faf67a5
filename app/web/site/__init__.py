"""The pages for people: the upload form and its result, the models, the login and the status."""
