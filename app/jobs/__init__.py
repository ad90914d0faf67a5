"""Long work that outlives its request, its worker and its machine's power: jobs on disk, a queue, a worker.

    views ── accept ──▶ folder on disk, fsynced ──▶ queue (huey: SQLite or Redis) ──▶ worker ── windows ──▶ journal
      ▲                                                                                             │
      └────── record, events, timeline ◀──────────────── state.json ◀──────────────────────────────┘

The folder is the truth: the queue only says that there is something to do, and can be made anew from the folders.
Whoever changes a job's state holds the lock on its folder, which the kernel takes back from the dead.
"""
