"""What the command line prints and writes: reports, tables, files of results, progress."""
