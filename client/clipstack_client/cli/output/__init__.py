"""Output of the command line: reports, tables, files of results, progress."""
