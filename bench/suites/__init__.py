"""One file a question: `measured(effort)` returns what bench/results/NAME.json holds, without the machine."""
