"""Says what is wrong with a stack, running or not, and how to mend it; changes nothing.

findings       the words: a check looks at one thing and yields findings; a fault is what it knows to go wrong
patient        the stack that is looked at, and what all checks ask of it
examination    all checks at once, each within its time
table, pages   what people and scripts read, and docs/troubleshooting.md
the others     the checks, a file a field
"""
