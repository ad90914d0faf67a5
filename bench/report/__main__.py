"""Write docs/performance.md again from the files of results."""

from bench import report

report.write(report.read())
