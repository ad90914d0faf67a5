"""Jobs: long work that survives the end of its request, its worker and a power loss.

    views ── accept ──▶ folder on disk, fsynced ──▶ queue (huey: SQLite or Redis) ──▶ worker ── windows ──▶ journal
      ▲                                                                                             │
      └────── record, events, timeline ◀──────────────── state.json ◀──────────────────────────────┘

The job folders are authoritative. The queue only holds the ids of jobs to run and can be rebuilt from the folders.
A process changes a job's state only while it holds the lock on the job's folder. The kernel releases the lock when the
process dies.
"""
