"""Doctor: diagnoses a stack, running or not, and says how to fix what is wrong; it changes nothing.

check          the types: a check examines one thing and yields findings; a known issue describes one finding
context        the examined stack, and what all checks need to know about it
runner         runs all checks at once, each with a time limit
probes         requests to Triton and nginx, and programs, each with a timeout
registry       all checks in display order
report, pages  output for people and scripts, and the tables of docs/troubleshooting.md
checks         the checks, one module per subject
"""
