"""Steps of bench/gpu/first_run.py: what a first run on a GPU must find out. Each is a process with a time limit."""
