"""Job storage: job folders, their records and journals, the SQLite index, reconciliation and retention."""
